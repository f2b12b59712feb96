// Open-AutoGLM's dialogue: replies read, written, and made by the grammar.
#include "inference/autoglm/autoglm.h"

#include <chrono>
#include <set>

#include "gmock/gmock.h"
#include "tests/inference/grammar/random_answer.h"
#include "tests/support/effort.h"

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
  EXPECT_EQ(Parsed(answer(R"(do(action="Note", message="\x41\u5fae\U0001F600\q"))")).message, "A微😀\\q");
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

// The layout of the English prompt, and an answer that ends with the action as the model's token </answer> is no text.
TEST(AutoglmReply, ReadsAnswersAsAnApiGivesThem) {
  EXPECT_EQ(
      Parsed("<think>\nThe app is not open.\n</think>\n<answer>\ndo(action=\"Launch\", app=\"Settings\")\n</answer>"),
      (AutoglmReply{.thinking = "The app is not open.", .action = "Launch", .app = "Settings"}));
  EXPECT_EQ(Parsed("<think>首先需要启动京东app。</think>\n<answer>do(action=\"Launch\", app=\"京东\")"),
            (AutoglmReply{.thinking = "首先需要启动京东app。", .action = "Launch", .app = "京东"}));
  // What the client can do without.
  EXPECT_EQ(Parsed("do(action=\"Wait\")"), (AutoglmReply{.action = "Wait"}));
  EXPECT_EQ(Parsed("do(action=\"Take_over\")"), (AutoglmReply{.action = "Take_over"}));
  // finish is looked for first, wherever it stands.
  EXPECT_EQ(Parsed("do(action=\"Back\") finish(message=\"ok\")").action, "finish");
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
  EXPECT_EQ(error(R"(do(action="Tap", element=[1000,1]))"),
            "the reply's action: a point is [x,y], with x and y from 0 to 999");
  EXPECT_EQ(error(R"(do(action="Tap", element=[1]))"),
            "the reply's action: a point is [x,y], with x and y from 0 to 999");
  EXPECT_EQ(error(R"(do(action="Tap", element=[1,1], element=[2,2]))"), "the reply's action: element is there twice");
  EXPECT_EQ(error(R"(do(action="Back", app="x"))"), "the reply's action: Back has no field \"app\"");
  EXPECT_EQ(error(R"(do(action="Launch", app="x))"), "the reply's action: a text does not end");
  EXPECT_EQ(error(R"(do(action="Note", message="\ud800"))"),
            "the reply's action: a text has an escape that is no character");
  EXPECT_EQ(error(R"(do(action="Note", message="\x4"))"),
            "the reply's action: a text has an escape that is no character");
  EXPECT_EQ(error(R"(do(action="Type"))"), "the reply's action: Type needs text");
  EXPECT_EQ(error(R"(do(action="Back")"), "the reply's action: ',' or ')' was expected");
  EXPECT_EQ(error(R"(do(action="Back") now)"), "the reply's action: text follows the action");
  const std::string text = "<think>a</think><answer>do(action=\"Tap\", element=[1,2], message=\"m\")</answer>";
  for (size_t size = 0; size < text.size(); ++size) (void)ParseAutoglmReply(text.substr(0, size));  // none may crash
}

TEST(AutoglmReply, IsReadBackAsItWasWritten) {
  for (const AutoglmReply& reply :
       {AutoglmReply{.thinking = "t", .action = "Tap", .element = ScreenPoint{1, 2}, .message = "a \"b\" \\ \n\t\r c"},
        AutoglmReply{.action = "Type", .text = "raw \"text\")"}, AutoglmReply{.action = "Home"},
        AutoglmReply{.thinking = "end", .action = "finish", .message = "bye\nbye"}}) {
    EXPECT_EQ(Parsed(WriteAutoglmReply(reply)), reply);
  }
}

TEST(AutoglmDialogue, HasTheMessagesOfTheClient) {
  EXPECT_EQ(AutoglmTaskMessage("打开\"微信\"", "System Home").content,
            "打开\"微信\"\n\n{\"current_app\": \"System Home\"}");
  EXPECT_EQ(AutoglmScreenMessage("a\"b").content, "** Screen Info **\n\n{\"current_app\": \"a\\\"b\"}");
  const ChatMessage reply = AutoglmReplyMessage({.thinking = "go", .action = "Tap", .element = ScreenPoint{5, 6}});
  EXPECT_EQ(reply.role, "assistant");
  EXPECT_EQ(reply.content, "<think>go</think>\n<answer>do(action=\"Tap\", element=[5,6])</answer>");
}

TEST(AutoglmDialogue, TheSystemMessageBeginsWithTheDateAsTheClientsDoes) {
  using std::chrono::year, std::chrono::month, std::chrono::day;
  const ChatMessage chinese = AutoglmSystemMessage(AutoglmLanguage::kChinese, {year(2025), month(12), day(11)});
  EXPECT_EQ(chinese.role, "system");
  EXPECT_THAT(chinese.content, testing::StartsWith("今天的日期是: 2025年12月11日 星期四\n"));
  const ChatMessage english = AutoglmSystemMessage(AutoglmLanguage::kEnglish, {year(2025), month(12), day(12)});
  EXPECT_THAT(english.content, testing::StartsWith("The current date: 2025-12-12, Friday\n"));
  EXPECT_THAT(AutoglmSystemMessage(AutoglmLanguage::kEnglish, {year(2026), month(2), day(1)}).content,
              testing::StartsWith("The current date: 2026-02-01, Sunday\n"));
  for (const ChatMessage& message : {chinese, english}) {
    EXPECT_THAT(message.content, testing::HasSubstr("<think>{think}</think>\n<answer>{action}</answer>"));
    for (const char* form :
         {"do(action=\"Launch\", app=\"…\")", "do(action=\"Tap\", element=[x,y], message=\"…\")",
          "do(action=\"Type\", text=\"…\")", "do(action=\"Type_Name\", text=\"…\")", "do(action=\"Interact\")",
          "do(action=\"Swipe\", start=[x,y], end=[x,y])", "do(action=\"Note\", message=\"…\")",
          "do(action=\"Call_API\", instruction=\"…\")", "do(action=\"Long Press\", element=[x,y])",
          "do(action=\"Double Tap\", element=[x,y])", "do(action=\"Take_over\", message=\"…\")", "do(action=\"Back\")",
          "do(action=\"Home\")", "do(action=\"Wait\", duration=\"…\")", "finish(message=\"…\")"}) {
      EXPECT_THAT(message.content, testing::HasSubstr(std::string("- ") + form));
    }
  }
}

// As the client builds it: it keeps the tags before the action as part of the thought, and adds its own.
TEST(AutoglmDialogue, HistoryIsWhatTheClientMakesOfAnAnswer) {
  const ChatMessage history = AutoglmHistoryMessage("<think>go</think>\n<answer>do(action=\"Home\")");
  EXPECT_EQ(history.role, "assistant");
  EXPECT_EQ(history.content, "<think><think>go</think>\n<answer></think><answer>do(action=\"Home\")</answer>");
  EXPECT_EQ(Parsed(history.content), (AutoglmReply{.thinking = "go", .action = "Home"}));
  EXPECT_EQ(AutoglmHistoryMessage("I give up").content, "<think></think><answer>I give up</answer>");
}

// What the client's own parser asks of an answer, in words of our own: it cuts at the first call and reads the rest to
// its last byte.
void ExpectTheClientReads(const std::string& answer, const AutoglmReply& reply) {
  const bool finish = reply.action == "finish";
  const size_t call = answer.find(finish ? "finish(message=" : "do(action=");
  ASSERT_NE(call, std::string::npos) << answer;
  EXPECT_EQ(answer.find("finish(message="), finish ? call : std::string::npos) << "cut elsewhere: " << answer;
  const std::string before = answer.substr(0, call);
  EXPECT_THAT(before, testing::StartsWith("<think>"));
  EXPECT_TRUE(before.ends_with("</think><answer>") || before.ends_with("</think>\n<answer>") ||
              before.ends_with("<answer>\n"))
      << before;
  EXPECT_EQ(answer.back(), ')') << answer;
  const std::string action = answer.substr(call);
  // The texts of these two are all bytes but the quote before and the quote and parenthesis behind.
  const std::string begin = finish ? "finish(message=\"" : "do(action=\"Type\", text=\"";
  if (finish || reply.action == "Type") {
    EXPECT_EQ(action, begin + (finish ? *reply.message : *reply.text) + "\")");
  }
  // The others are Python: a line, in which nothing needs an escape.
  if (!finish && reply.action != "Type" && reply.action != "Type_Name") {
    EXPECT_EQ(action.find_first_of("\n\\"), std::string::npos) << action;
  }
}

TEST(AutoglmGrammar, AllowsNothingAtWhichTheClientWouldStumble) {
  const auto grammar = *FindBuiltinGrammar("autoglm");
  const std::string begin = "<think>a</think>\n<answer>";
  EXPECT_TRUE(Matches(*grammar, begin + R"(do(action="Type", text="finish(message, f(x)=ffinish(messag C:\a"))"));
  EXPECT_TRUE(Matches(*grammar, "<think>\na\n</think>\n<answer>\ndo(action=\"Note\", message=\"True\")"));
  EXPECT_TRUE(Matches(*grammar, begin + R"~(finish(message="1
2 (3)"))~"));
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Type", text="</answer>"))")) << "a text that was not closed";
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Home")</answer>)")) << "no action for the client";
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Type", text="ffinish(message=1"))"));
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Launch", app="finish(message="))"));
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Launch", app="a\b"))"));
  EXPECT_FALSE(Matches(*grammar, begin + "do(action=\"Launch\", app=\"a\nb\")"));
  EXPECT_FALSE(Matches(*grammar, begin + R"(do(action="Type", text="a"b"))"));
  EXPECT_FALSE(Matches(*grammar, "<think>do(action=</think>\n<answer>do(action=\"Home\")"));
}

TEST(AutoglmGrammar, TwoHundredOfTwoHundredRandomRepliesParse) {
  const auto tokenizer = RealTokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const RandomWriter writer(*tokenizer);
  const auto grammar = FindBuiltinGrammar("autoglm");
  ASSERT_TRUE(grammar.ok()) << Message(grammar.status());
  EXPECT_TRUE(Matches(**grammar, "<think>先点击搜索</think>\n<answer>do(action=\"Tap\", element=[500,120])"));
  EXPECT_TRUE(Matches(**grammar, "<think></think><answer>finish(message=\"好的。\")"));
  EXPECT_FALSE(Matches(**grammar, "<think></think><answer>do(action=\"Tap\", element=[1000,0])"));
  std::mt19937_64 random(5);
  std::set<std::string> actions;
  for (int i = 0; i < Repetitions(200); ++i) {
    const RandomAnswer answer = writer.Write(*grammar, random, 10 + i % 30, "\"<");
    EXPECT_TRUE(answer.ended) << answer.text;
    const auto reply = ParseAutoglmReply(answer.text);
    ASSERT_TRUE(reply.ok()) << Message(reply.status()) << "\n" << answer.text;
    ExpectTheClientReads(answer.text, *reply);
    actions.insert(reply->action);
    EXPECT_EQ(Parsed(WriteAutoglmReply(*reply)), *reply) << answer.text;
  }
  EXPECT_GT(actions.size(), Repetitions(200) == 200 ? 8u : 4u);
}

}  // namespace
}  // namespace fedglm
