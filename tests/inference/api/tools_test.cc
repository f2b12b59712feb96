#include "inference/api/tools.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "inference/api/chat_request.h"
#include "inference/api/output_grammar.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

std::vector<Tool> Tools() {
  const Json body = *ParseJson(R"({"tools":[
    {"type":"function","function":{"name":"get","description":"gets","parameters":{"type":"object",
      "properties":{"id":{"type":"integer"}},"required":["id"],"additionalProperties":false}}},
    {"type":"function","function":{"name":"get_all"}}]})",
                               "body");
  return *ReadTools(body);
}

// What is shown when the text comes in pieces of `size` bytes.
struct Split {
  std::string text, name, arguments;
  int calls = 0;
};
Split SplitUp(const std::string& answer, size_t size) {
  const std::vector<Tool> tools = Tools();
  ToolCallSplitter splitter(tools);
  Split split;
  const auto take = [&](const ToolCallSplitter::Shown& shown) {
    split.text += shown.text;
    split.calls += shown.call_begins;
    split.arguments += shown.arguments;
  };
  for (size_t at = 0; at < answer.size(); at += size) take(splitter.Push(answer.substr(at, size)));
  take(splitter.Finish());
  if (splitter.is_call()) split.name = splitter.name();
  return split;
}

TEST(ToolCallSplitter, TellsCallsFromTextHoweverTheyArePieced) {
  for (size_t size : {1, 2, 3, 7, 100}) {
    const Split call = SplitUp("get_all\n{\"a\": \"\\n\"}", size);
    EXPECT_EQ(call.calls, 1);
    EXPECT_EQ(call.name, "get_all");
    EXPECT_EQ(call.arguments, "{\"a\": \"\\n\"}");
    EXPECT_EQ(call.text, "");
    EXPECT_EQ(SplitUp("get\n{}", size).name, "get");
    for (const char* text : {"get", "get it\nnow", "nothing\n{}", "get_all_of_it\n{}", ""}) {
      EXPECT_EQ(SplitUp(text, size).text, text) << size;
      EXPECT_EQ(SplitUp(text, size).calls, 0) << text;
    }
    EXPECT_EQ(SplitUp("\nget\n{}", size).text, "get\n{}");  // the line of <|assistant|> is over: an answer
  }
}

TEST(ToolCallSplitter, WithoutToolsEverythingIsText) {
  ToolCallSplitter splitter({});
  EXPECT_EQ(splitter.Push("\nget").text, "\nget");
}

TEST(Tools, AreDescribedInGlm4sOwnWords) {
  const std::vector<Tool> tools = {Tools()[1]};
  EXPECT_EQ(DescribeTools(tools, ChatFormat::kGlm4),
            "# 可用工具\n\n## get_all\n\n{\n    \"name\": \"get_all\"\n}\n在调用上述函数时，请使用 Json "
            "格式表示调用的参数。");
}

TEST(Tools, TheirPromptLetsTheModelChoose) {
  GOLDEN_OR_SKIP(path, "golden/glm4-tiny-q4_k_m.gguf");
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok());
  const auto tokenizer = *Tokenizer::FromGguf(**file);
  ChatRequest request;
  request.messages = {{"user", "how is 7?"}, {"assistant", "{\"id\": 7}", "get"}, {"tool", "well"}};
  request.tools = Tools();
  const std::vector<Token> prompt = *RenderPrompt(request, {.format = ChatFormat::kGlm4}, *tokenizer);
  EXPECT_EQ(prompt.back(), *tokenizer->Find("<|assistant|>"));  // and no newline, which would make it an answer
  const std::string text = tokenizer->Decode(prompt, true);
  EXPECT_EQ(text, "[gMASK]<sop><|system|>\n" + DescribeTools(request.tools, ChatFormat::kGlm4) +
                      "<|user|>\nhow is 7?<|assistant|>get\n{\"id\": 7}<|observation|>\nwell<|assistant|>");
  request.tools.clear();
  const std::string plain = tokenizer->Decode(*RenderPrompt(request, {.format = ChatFormat::kGlm4}, *tokenizer), true);
  EXPECT_EQ(plain.substr(plain.size() - 14), "<|assistant|>\n");
}

TEST(OutputGrammar, RulesAreRenamedAndNothingElse) {
  EXPECT_EQ(PrefixRules("root ::= a-b \"a-b \\\" c\" [x\\]y]{2,3} # root\nroot2 ::= (root | \"\")*", "p-"),
            "p-root ::= p-a-b \"a-b \\\" c\" [x\\]y]{2,3} # root\np-root2 ::= (p-root | \"\")*");
  EXPECT_EQ(PrefixRules("\"open", "p-"), "\"open");
}

TEST(OutputGrammar, AnyToolOrOneOfThemOrAnAnswer) {
  AnswerOptions options;
  const std::vector<Tool> tools = Tools();
  const auto any = OutputGrammar(options, tools, {ToolUse::kRequired, ""})->whole;
  EXPECT_TRUE(Matches(*any, "get\n{\"id\": 7}"));
  EXPECT_TRUE(Matches(*any, "get_all\n{}"));
  EXPECT_FALSE(Matches(*any, "get\n{}"));
  EXPECT_FALSE(Matches(*any, "hello"));
  const auto one = OutputGrammar(options, tools, {ToolUse::kRequired, "get_all"})->whole;
  EXPECT_FALSE(Matches(*one, "get\n{\"id\": 7}"));
  options.format = AnswerFormat::kJsonObject;
  const auto either = OutputGrammar(options, tools, {ToolUse::kAuto, ""})->whole;
  EXPECT_TRUE(Matches(*either, "get_all\n{}"));
  EXPECT_TRUE(Matches(*either, "\n{\"a\": 1}"));
  EXPECT_TRUE(Matches(*either, "{\"a\": 1}"));
  EXPECT_FALSE(Matches(*either, "7"));
}

TEST(OutputGrammar, WhereTheModelMayChooseOnlyACallThatHasBegunIsHeldToItsSchema) {
  const AnswerGrammar answer = *OutputGrammar({}, Tools(), {ToolUse::kAuto, ""});
  EXPECT_EQ(answer.whole, nullptr);
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.calls[0].text, "get\n");
  EXPECT_TRUE(Matches(*answer.calls[0].grammar, "{\"id\": 7}"));
  EXPECT_FALSE(Matches(*answer.calls[0].grammar, "{\"id\": \"7\"}"));
  EXPECT_EQ(answer.calls[1].text, "get_all\n");
  EXPECT_TRUE(Matches(*answer.calls[1].grammar, "{}"));
}

TEST(OutputGrammar, ASchemaThatIsNotSupportedMeansAnyObjectUnlessTheToolIsStrict) {
  const auto read = [](const char* strict) {
    return *ReadTools(*ParseJson(std::string(R"({"tools":[{"type":"function","function":{"name":"f")") + strict +
                                     R"(,"parameters":{"type":"object","not":{"required":["a"]}}}}]})",
                                 "body"));
  };
  const AnswerGrammar answer = *OutputGrammar({}, read(""), {ToolUse::kAuto, ""});
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_TRUE(Matches(*answer.calls[0].grammar, "{\"any\": [1]}"));
  EXPECT_FALSE(Matches(*answer.calls[0].grammar, "[1]"));
  EXPECT_FALSE(OutputGrammar({}, read(R"(,"strict":true)"), {ToolUse::kAuto, ""}).ok());
  EXPECT_FALSE(OutputGrammar({}, read(""), {ToolUse::kRequired, ""}).ok());
}

TEST(OutputGrammar, ASchemaThatCannotBeIsTheRequestsFault) {
  AnswerOptions options;
  options.format = AnswerFormat::kJsonSchema;
  options.schema = {{"type", "no-such-type"}};
  const auto grammar = OutputGrammar(options, {}, {});
  ASSERT_FALSE(grammar.ok());
  EXPECT_EQ(grammar.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fedglm
