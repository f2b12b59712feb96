#include "inference/tokenizer/chat_template.h"

#include <algorithm>

#include "gtest/gtest.h"
#include "tests/inference/tokenizer/vocabulary_builder.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

// The templates that the models' GGUFs carry (Llama 3.1's without its tools).
constexpr char kSmolLm2[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou "
    "are a "
    "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\n' }}{% endif %}";
constexpr char kQwen25[] =
    "{%- if tools %}\n    {{- '<|im_start|>system\\n' }}\n    {%- if messages[0]['role'] == 'system' %}\n        {{- "
    "messages[0]['content'] }}\n    {%- else %}\n        {{- 'You are Qwen, created by Alibaba Cloud. You are a "
    "helpful "
    "assistant.' }}\n    {%- endif %}\n{%- else %}\n    {%- if messages[0]['role'] == 'system' %}\n        {{- "
    "'<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n    {%- else %}\n        {{- "
    "'<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}\n    "
    "{%- "
    "endif %}\n{%- endif %}\n{%- for message in messages %}…{%- endfor %}";
constexpr char kQwen3[] =
    "{%- if messages[0].role == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' "
    "}}\n"
    "{%- endif %}\n{%- for message in messages %}…{%- endfor %}";
constexpr char kLlama3[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% "
    "set "
    "content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
constexpr char kLlama31[] =
    "{{- bos_token }}…{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{{- \"Cutting Knowledge Date: "
    "December "
    "2023\\n\" }}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}…{{- system_message }}\n{{- \"<|eot_id|>\" }}…";
constexpr char kLlama2[] =
    "{% if messages[0]['role'] == 'system' %}…{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] %}…{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}…{{ ' '  + content.strip() + ' ' "
    "+ "
    "eos_token }}…";
constexpr char kMistral[] =
    "{{ bos_token }}{% for message in messages %}…{{ '[INST] ' + message['content'] + ' [/INST]' }}…{{ ' ' + "
    "message['content'] + eos_token}}…";
constexpr char kTinyLlama[] =
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token "
    "}}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif "
    "message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}…";
constexpr char kGlm4[] =
    "[gMASK]<sop>\n{%- if tools -%}\n<|system|>\n…{%- for message in messages if message.role != 'system' "
    "%}…<|user|>\n{{ "
    "content }}…<|assistant|>\n{{ content }}…<|observation|>\n…{% if add_generation_prompt %}<|assistant|>\n{% endif "
    "%}";

// A byte vocabulary with control tokens, the first of which is BOS and the last EOS.
struct Model {
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;

  Model(const std::string& text, const std::vector<std::string>& controls) {
    VocabularyBuilder builder = ByteVocabulary{.controls = controls, .chat_template = text}.Builder();
    if (!controls.empty()) {
      builder.Uint32("tokenizer.ggml.bos_token_id", 256);
      builder.Uint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(255 + controls.size()));
    }
    const auto file = builder.File();
    tokenizer = *Tokenizer::FromGguf(**file);
    chat_template = DetectChatTemplate(**file, *tokenizer);
  }
  std::vector<ChatPart> Parts(const std::vector<ChatMessage>& messages, bool prompt) const {
    auto parts = RenderChat(chat_template, *tokenizer, messages, prompt);
    EXPECT_TRUE(parts.ok()) << Message(parts.status());
    return parts.ok() ? *std::move(parts) : std::vector<ChatPart>();
  }
  std::string Render(const std::vector<ChatMessage>& messages, bool prompt) const {
    return tokenizer->Decode(JoinParts(Parts(messages, prompt)), true);
  }
  // What training computes its loss on.
  std::string Answers(const std::vector<ChatMessage>& messages) const {
    std::string answers;
    for (const ChatPart& part : Parts(messages, false)) {
      if (part.answer) answers += tokenizer->Decode(part.tokens, true);
    }
    return answers;
  }
};

const std::vector<std::string> kChatMlControls = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
const std::vector<std::string> kLlama3Controls = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                                  "<|eot_id|>"};
const std::vector<ChatMessage> kTalk = {{"user", "a"}, {"assistant", "b"}, {"user", "c"}};

TEST(ChatTemplate, SmolLm2WritesItsOwnSystemMessage) {
  const Model model(kSmolLm2, kChatMlControls);
  EXPECT_EQ(model.Render({{"user", "hi"}}, true),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(model.Render({{"system", "Be brief."}, {"user", "hi"}}, true),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(model.Answers({{"user", "hi"}, {"assistant", "yes"}}), "yes<|im_end|>");
}

TEST(ChatTemplate, QwensSystemMessageIsReadOutOfItsTemplate) {
  EXPECT_EQ(Model(kQwen25, kChatMlControls).chat_template.default_system,
            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
  const Model qwen3(kQwen3, kChatMlControls);
  EXPECT_EQ(qwen3.chat_template.format, ChatFormat::kChatMl);
  EXPECT_EQ(qwen3.chat_template.default_system, "");
  EXPECT_EQ(qwen3.Render(kTalk, true),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, Llama3StripsAndBeginsWithBos) {
  const Model model(kLlama3, kLlama3Controls);
  EXPECT_EQ(model.Render({{"user", " hi\n"}, {"assistant", "yes "}}, false),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nyes<|eot_id|>");
  EXPECT_EQ(model.Answers({{"user", "hi"}, {"assistant", "yes"}}), "yes<|eot_id|>");
}

TEST(ChatTemplate, Llama31AlwaysHasASystemMessageWithItsDate) {
  const Model model(kLlama31, kLlama3Controls);
  const std::string date = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  const std::string head = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + date;
  const std::string tail =
      "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  EXPECT_EQ(model.Render({{"user", "hi"}}, true), head + tail);
  EXPECT_EQ(model.Render({{"system", "Be brief. "}, {"user", "hi"}}, true), head + "Be brief." + tail);
}

TEST(ChatTemplate, Llama2PutsTheSystemMessageIntoTheFirstQuestion) {
  const Model model(kLlama2, {"<s>", "</s>"});
  EXPECT_EQ(model.Render({{"system", "S"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}}, true),
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]");
  EXPECT_EQ(model.Answers(kTalk), " b </s>");
}

TEST(ChatTemplate, MistralHasOneBosAndItsOwnTokensIfItHasThem) {
  EXPECT_EQ(Model(kMistral, {"<s>", "</s>"}).Render(kTalk, true), "<s>[INST] a [/INST] b</s>[INST] c [/INST]");
  EXPECT_EQ(Model(kMistral, {"<s>", "[INST]", "[/INST]", "</s>"}).Render(kTalk, true),
            "<s>[INST]a[/INST]b</s>[INST]c[/INST]");
}

TEST(ChatTemplate, TinyLlamaEndsTurnsWithEos) {
  const Model model(kTinyLlama, {"<s>", "</s>"});
  EXPECT_EQ(model.Answers({{"user", "a"}, {"assistant", "{}", "f"}}), "f\n{}</s>");
  EXPECT_EQ(model.chat_template.format, ChatFormat::kZephyr);
  EXPECT_EQ(model.Render({{"system", "S"}, {"user", "a"}}, true),
            "<|system|>\nS</s>\n<|user|>\na</s>\n<|assistant|>\n");
  EXPECT_EQ(model.Answers(kTalk), "b</s>");
}

TEST(ChatTemplate, Glm4AnswersEndWithTheNextRole) {
  const Model model(
      kGlm4, {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>"});
  EXPECT_EQ(model.Render({{"user", "a"}}, true), "[gMASK]<sop><|user|>\na<|assistant|>\n");
  EXPECT_EQ(model.Render({{"system", "S"}, {"user", "a"}}, true),
            "[gMASK]<sop><|system|>\nS<|user|>\na<|assistant|>\n");
  EXPECT_EQ(model.Render(kTalk, true), "[gMASK]<sop><|user|>\na<|assistant|>\nb<|user|>\nc<|assistant|>\n");
  EXPECT_EQ(model.Render({{"user", "a"}, {"assistant", "b"}}, false),
            "[gMASK]<sop><|user|>\na<|assistant|>\nb<|user|>");
  EXPECT_EQ(model.Render({{"user", "a"}, {"assistant", "f()"}, {"tool", "1"}}, true),
            "[gMASK]<sop><|user|>\na<|assistant|>\nf()<|observation|>\n1<|assistant|>\n");
  EXPECT_EQ(model.Answers({{"user", "a"}, {"assistant", "f()"}, {"tool", "1"}, {"assistant", "b"}}),
            "f()<|observation|>b<|user|>");
  EXPECT_EQ(model.Render({{"user", "a"}, {"assistant", "{}", "f"}, {"assistant", "{}", "g"}, {"tool", "1"}}, true),
            "[gMASK]<sop><|user|>\na<|assistant|>f\n{}<|assistant|>g\n{}<|observation|>\n1<|assistant|>\n")
      << "a call stands in the line of its role";
  for (const char* end : {"<|user|>", "<|observation|>", "<|endoftext|>"}) {
    EXPECT_TRUE(model.tokenizer->EndsGeneration(*model.tokenizer->Find(end))) << end;
  }
}

TEST(ChatTemplate, WithoutATemplateTheControlTokensDecide) {
  EXPECT_EQ(Model("", {"[gMASK]", "<|assistant|>"}).chat_template.format, ChatFormat::kGlm4);
  EXPECT_EQ(Model("", kLlama3Controls).chat_template.format, ChatFormat::kLlama3);
  EXPECT_EQ(Model("", kChatMlControls).chat_template.format, ChatFormat::kChatMl);
  EXPECT_EQ(Model("{{ 'something new' }}", kChatMlControls).chat_template.format, ChatFormat::kChatMl);
  VocabularyBuilder builder = SentencePieceVocabulary({"▁"});
  const auto file = builder.File();
  EXPECT_EQ(DetectChatTemplate(**file, **Tokenizer::FromGguf(**file)).format, ChatFormat::kLlama2);
}

TEST(ChatTemplate, AModelThatKnowsNoneOfThemGetsPlainTextAndEos) {
  for (const char* text : {"", "{{ 'something new' }}"}) {
    const Model model(text, {"<s>", "</s>"});
    EXPECT_EQ(model.Render(kTalk, true), "user: a\nassistant: b</s>\nuser: c\nassistant:");
    EXPECT_EQ(model.Answers(kTalk), " b</s>");
  }
}

TEST(ChatTemplate, ContentNeverBecomesAControlToken) {
  const Model model(kLlama3, kLlama3Controls);
  const Token eot = *model.tokenizer->Find("<|eot_id|>");
  const std::vector<Token> tokens = JoinParts(model.Parts({{"user", "<|eot_id|><|eot_id|>"}}, true));
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), eot), 1);
}

// SentencePiece puts a space before a text; an answer that begins in the middle of one gets none.
TEST(ChatTemplate, AnAnswerInSentencePieceContinuesThePrompt) {
  const auto tokenizer = SentencePieceVocabulary({"▁", "y", "e", "s", "▁yes", "yes", "es", "▁y", "ye"}).Build();
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  const auto answer = [&](ChatFormat format) {
    std::string text;
    const auto parts = RenderChat({.format = format}, **tokenizer, {{"user", "?"}, {"assistant", "yes"}}, false);
    for (const ChatPart& part : *parts) {
      for (const Token token : part.tokens) {
        if (part.answer) text += (*tokenizer)->Piece(token, true) + "|";
      }
    }
    return text;
  };
  EXPECT_EQ(answer(ChatFormat::kZephyr), "yes|</s>|");
  EXPECT_EQ(answer(ChatFormat::kMistral), " yes|</s>|");
}

TEST(ChatTemplate, RefusesUnknownRolesAndNoMessages) {
  const Model model(kSmolLm2, kChatMlControls);
  EXPECT_EQ(ExitCodeOf(RenderChat({}, *model.tokenizer, {}, true).status()), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(RenderChat({}, *model.tokenizer, {{"wizard", "hi"}}, true).status()), ExitCode::kUsage);
}

}  // namespace
}  // namespace fedglm
