// Open-AutoGLM's dialogue: replies read, written, and made by the grammar.
#include "inference/autoglm/autoglm.h"

#include <set>

#include "gmock/gmock.h"
#include "tests/inference/grammar/random_answer.h"

namespace fedglm {
namespace {

AutoglmReply Parsed(const std::string& text) {
  const auto reply = ParseAutoglmReply(text);
  EXPECT_TRUE(reply.ok()) << Message(reply.status()) << "\n" << text;
  return reply.ok() ? *reply : AutoglmReply();
}

TEST(AutoglmReply, ReadsEachAction) {
  const auto answer = [](const std::string& action) { return "<think>why</think>\n<answer>" + action + "</answer>"; };
  EXPECT_EQ(Parsed(answer(R"(do(action="Tap", element=[500,120]))")),
            (AutoglmReply{.thinking = "why", .action = "Tap", .element = ScreenPoint{500, 120}}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Tap", element=[0, 999], message="Pay?"))")),
            (AutoglmReply{.thinking = "why", .action = "Tap", .element = ScreenPoint{0, 999}, .message = "Pay?"}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Swipe", start=[1,2], end=[3,4]))")),
            (AutoglmReply{.thinking = "why", .action = "Swipe", .start = ScreenPoint{1, 2}, .end = ScreenPoint{3, 4}}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Launch", app="微信"))")),
            (AutoglmReply{.thinking = "why", .action = "Launch", .app = "微信"}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Type", text="He said "hi" (twice)
and left\n"))")),
            (AutoglmReply{.thinking = "why", .action = "Type", .text = "He said \"hi\" (twice)\nand left\\n"}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Note", message='it\'s\n"so"'))")),
            (AutoglmReply{.thinking = "why", .action = "Note", .message = "it's\n\"so\""}));
  EXPECT_EQ(Parsed(answer(R"(do(action="Call_API", instruction="sum up"))")).instruction, "sum up");
  EXPECT_EQ(Parsed(answer(R"(do(action="Wait", duration="2 seconds"))")).duration, "2 seconds");
  EXPECT_EQ(Parsed(answer(R"(do(action="Long Press", element=[1,1]))")).action, "Long Press");
  EXPECT_EQ(Parsed(answer(R"(do(action="Back"))")), (AutoglmReply{.thinking = "why", .action = "Back"}));
  EXPECT_EQ(Parsed(answer(R"~(finish(message="done (all)"))~")),
            (AutoglmReply{.thinking = "why", .action = "finish", .message = "done (all)"}));
}

TEST(AutoglmReply, ReadsRepliesWithoutTagsAsTheClientDoes) {
  EXPECT_EQ(Parsed("I go home.\ndo(action=\"Home\")"), (AutoglmReply{.thinking = "I go home.", .action = "Home"}));
  EXPECT_EQ(Parsed("finish(message=\"ok\")</answer>\n"), (AutoglmReply{.action = "finish", .message = "ok"}));
}

TEST(AutoglmReply, SaysWhatIsWrong) {
  const auto error = [](const std::string& action) {
    const auto reply = ParseAutoglmReply("<think></think><answer>" + action + "</answer>");
    EXPECT_EQ(ExitCodeOf(reply.status()), ExitCode::kBadInputFile) << action;
    return Message(reply.status());
  };
  EXPECT_EQ(Message(ParseAutoglmReply("hello").status()), "the reply has no <answer> and no action");
  EXPECT_EQ(error(""), "the reply's action: an answer is do(action=\"…\", …) or finish(message=\"…\")");
  EXPECT_EQ(error(R"(do(action="Fly"))"), "the reply's action: there is no action \"Fly\"");
  EXPECT_EQ(error(R"(do(action="Tap"))"), "the reply's action: Tap needs element");
  EXPECT_EQ(error(R"(finish())"), "the reply's action: finish needs message");
  EXPECT_EQ(error(R"(do(action="Tap", element=[1000,1]))"), "the reply's action: a point is [x,y], with x and y from 0 to 999");
  EXPECT_EQ(error(R"(do(action="Tap", element=[1]))"), "the reply's action: a point is [x,y], with x and y from 0 to 999");
  EXPECT_EQ(error(R"(do(action="Tap", element=[1,1], element=[2,2]))"), "the reply's action: element is there twice");
  EXPECT_EQ(error(R"(do(action="Back", app="x"))"), "the reply's action: Back has no field \"app\"");
  EXPECT_EQ(error(R"(do(action="Launch", app="x))"), "the reply's action: a text does not end");
  EXPECT_EQ(error(R"(do(action="Back")"), "the reply's action: ',' or ')' was expected");
  EXPECT_EQ(error(R"(do(action="Back") now)"), "the reply's action: text follows the action");
  const std::string text = "<think>a</think><answer>do(action=\"Tap\", element=[1,2], message=\"m\")</answer>";
  for (size_t size = 0; size < text.size(); ++size) (void)ParseAutoglmReply(text.substr(0, size));  // none may crash
}

TEST(AutoglmReply, IsReadBackAsItWasWritten) {
  for (const AutoglmReply& reply :
       {AutoglmReply{.thinking = "t", .action = "Tap", .element = ScreenPoint{1, 2}, .message = "a \"b\" \\ \n c"},
        AutoglmReply{.action = "Type", .text = "raw \"text\")"}, AutoglmReply{.action = "Home"},
        AutoglmReply{.thinking = "end", .action = "finish", .message = "bye\nbye"}}) {
    EXPECT_EQ(Parsed(WriteAutoglmReply(reply)), reply);
  }
}

TEST(AutoglmDialogue, HasTheMessagesOfTheClient) {
  EXPECT_EQ(AutoglmTaskMessage("打开\"微信\"", "System Home").content,
            "打开\"微信\"\n\n{\"current_app\": \"System Home\"}");
  EXPECT_EQ(AutoglmScreenMessage("a\"b").content, "** Screen Info **\n\n{\"current_app\": \"a\\\"b\"}");
  const ChatMessage system = AutoglmSystemMessage("2026-11-24");
  EXPECT_EQ(system.role, "system");
  EXPECT_THAT(system.content, testing::HasSubstr("2026-11-24"));
  EXPECT_THAT(system.content, testing::HasSubstr("do(action=\"Swipe\", start=[x,y], end=[x,y])"));
  const ChatMessage reply = AutoglmReplyMessage({.thinking = "go", .action = "Tap", .element = ScreenPoint{5, 6}});
  EXPECT_EQ(reply.role, "assistant");
  EXPECT_EQ(reply.content, "<think>go</think><answer>do(action=\"Tap\", element=[5,6])</answer>");
}

TEST(AutoglmGrammar, TwoHundredOfTwoHundredRandomRepliesParse) {
  const auto tokenizer = RealTokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const auto trie = BuildTokenTrie(*tokenizer);
  const auto grammar = FindBuiltinGrammar("autoglm");
  ASSERT_TRUE(grammar.ok()) << Message(grammar.status());
  EXPECT_TRUE(Matches(**grammar, "<think>先点击搜索</think>\n<answer>do(action=\"Tap\", element=[500,120])</answer>"));
  EXPECT_TRUE(Matches(**grammar, "<think></think><answer>finish(message=\"好的。\")</answer>"));
  EXPECT_FALSE(Matches(**grammar, "<think></think><answer>do(action=\"Tap\", element=[1000,0])</answer>"));
  std::mt19937_64 random(5);
  std::set<std::string> actions;
  for (int i = 0; i < 200; ++i) {
    const RandomAnswer answer = WriteRandomAnswer(*grammar, trie, *tokenizer, random, 10 + i % 30, "\"<");
    EXPECT_TRUE(answer.ended) << answer.text;
    const auto reply = ParseAutoglmReply(answer.text);
    ASSERT_TRUE(reply.ok()) << Message(reply.status()) << "\n" << answer.text;
    actions.insert(reply->action);
    EXPECT_EQ(Parsed(WriteAutoglmReply(*reply)), *reply) << answer.text;
  }
  EXPECT_GT(actions.size(), 8u);
}

}  // namespace
}  // namespace fedglm
