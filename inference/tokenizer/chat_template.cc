#include "inference/tokenizer/chat_template.h"

#include <optional>

namespace fedglm {
namespace {

// What a template is made of before it is tokenized: control tokens, and text.
struct Segment {
  std::string text;
  std::optional<Token> token;
  bool answer = false;
};

class Script {
 public:
  explicit Script(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // A control token by its name; as text if the vocabulary lacks it.
  Script& Control(const std::string& name, bool answer = false) {
    const std::optional<Token> token = tokenizer_.Find(name);
    if (!token) return Text(name, answer);
    segments_.push_back({"", token, answer});
    return *this;
  }
  Script& Text(const std::string& text, bool answer = false) {
    if (text.empty()) return *this;
    if (!segments_.empty() && !segments_.back().token && segments_.back().answer == answer) {
      segments_.back().text += text;  // one stretch of text is tokenized in one go
    } else {
      segments_.push_back({text, std::nullopt, answer});
    }
    return *this;
  }
  Script& Bos() {
    if (tokenizer_.bos()) segments_.push_back({"", tokenizer_.bos(), false});
    return *this;
  }
  Script& Eos(bool answer) {
    if (tokenizer_.eos()) segments_.push_back({"", tokenizer_.eos(), answer});
    return *this;
  }

  std::vector<ChatPart> Tokenize() const {
    std::vector<ChatPart> parts(1);
    bool after_text = false;
    for (const Segment& segment : segments_) {
      if (parts.back().answer != segment.answer) parts.push_back({{}, segment.answer});
      std::vector<Token>& tokens = parts.back().tokens;
      if (segment.token) {
        tokens.push_back(*segment.token);
      } else {
        const std::vector<Token> text = tokenizer_.Encode(
            segment.text,
            {.add_special = false, .parse_special = false, .user_defined = false, .space_prefix = !after_text});
        tokens.insert(tokens.end(), text.begin(), text.end());
      }
      after_text = !segment.token.has_value();
    }
    return parts;
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<Segment> segments_;
};

bool IsAssistant(const ChatMessage& message) { return message.role == "assistant"; }

// As Python's strip(), which the templates of Llama call.
std::string Strip(const std::string& text) {
  constexpr char kSpaces[] = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

using Messages = std::vector<ChatMessage>;

// A turn ends where the next one's role begins; the model writes that token.
void WriteGlm4(const Messages& messages, bool prompt, Script& script) {
  script.Control("[gMASK]").Control("<sop>");
  bool role_written = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string role = messages[i].role == "tool" ? "observation" : messages[i].role;
    if (!role_written) script.Control("<|" + role + "|>");
    role_written = false;
    if (!IsAssistant(messages[i])) {
      script.Text("\n" + messages[i].content);
      continue;
    }
    // A call is told from an answer by its name in the line of <|assistant|> itself.
    if (messages[i].function.empty()) script.Text("\n");
    const std::string name = messages[i].function.empty() ? "" : messages[i].function + "\n";
    script.Text(name + messages[i].content, true);
    const bool last = i + 1 == messages.size();
    if (!last && IsAssistant(messages[i + 1])) continue;
    const bool observation = !last && messages[i + 1].role == "tool";
    if (!last && messages[i + 1].role == "system") {
      script.Control("<|user|>", true);
      continue;
    }
    script.Control(observation ? "<|observation|>" : "<|user|>", true);
    role_written = true;
  }
  if (prompt) script.Control("<|assistant|>").Text("\n");
}

void WriteChatMl(const Messages& messages, bool prompt, Script& script) {
  for (const ChatMessage& message : messages) {
    const bool answer = IsAssistant(message);
    script.Control("<|im_start|>").Text(message.role + "\n");
    script.Text(message.content, answer).Control("<|im_end|>", answer).Text("\n");
  }
  if (prompt) script.Control("<|im_start|>").Text("assistant\n");
}

void WriteLlama3(const Messages& messages, const std::string& preamble, bool prompt, Script& script) {
  const auto header = [&](const std::string& role) {
    script.Control("<|start_header_id|>").Text(role).Control("<|end_header_id|>").Text("\n\n");
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool answer = IsAssistant(messages[i]);
    header(messages[i].role == "tool" ? "ipython" : messages[i].role);
    if (i == 0) script.Text(preamble);
    script.Text(Strip(messages[i].content), answer).Control("<|eot_id|>", answer);
  }
  if (prompt) header("assistant");
}

// Each question is an example of its own, between BOS and EOS; the system message is a part of the first one.
void WriteLlama2(const Messages& messages, Script& script) {
  std::string system;
  bool first = true;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      system = "<<SYS>>\n" + message.content + "\n<</SYS>>\n\n";
    } else if (IsAssistant(message)) {
      script.Text(" " + Strip(message.content) + " ", true).Eos(true);
    } else {
      if (!first) script.Bos();
      first = false;
      script.Text("[INST] " + Strip(system + message.content) + " [/INST]");
      system.clear();
    }
  }
}

// [INST] is a token since Mistral's third tokenizer, and has no spaces around it from then on.
void WriteMistral(const Messages& messages, const Tokenizer& tokenizer, Script& script) {
  const bool tokens = tokenizer.Find("[INST]").has_value();
  const std::string space = tokens ? "" : " ";
  std::string system;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      system = message.content + "\n\n";
    } else if (IsAssistant(message)) {
      script.Text(space + message.content, true).Eos(true);
    } else {
      script.Control("[INST]").Text(space + system + message.content + space).Control("[/INST]");
      system.clear();
    }
  }
}

void WriteZephyr(const Messages& messages, bool prompt, Script& script) {
  for (const ChatMessage& message : messages) {
    const bool answer = IsAssistant(message);
    script.Control("<|" + message.role + "|>").Text("\n").Text(message.content, answer).Eos(answer).Text("\n");
  }
  if (prompt) script.Control("<|assistant|>").Text("\n");
}

void WritePlain(const Messages& messages, bool prompt, Script& script) {
  for (const ChatMessage& message : messages) {
    if (IsAssistant(message)) {
      script.Text("assistant:").Text(" " + message.content, true).Eos(true).Text("\n");
    } else {
      script.Text(message.role + ": " + message.content + "\n");
    }
  }
  if (prompt) script.Text("assistant:");
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// '<|im_start|>system\nYou are …<|im_end|>' in a ChatML template, if it is one literal.
std::string DefaultSystem(const std::string& text) {
  const std::string begin = "<|im_start|>system", end = "<|im_end|>";
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
    size_t from = at + begin.size();
    if (text.compare(from, 2, "\\n") == 0) {  // as Jinja writes a newline in a literal
      from += 2;
    } else if (text.compare(from, 1, "\n") == 0) {
      from += 1;
    } else {
      continue;
    }
    const size_t to = text.find(end, from);
    if (to == std::string::npos) break;
    const std::string system = text.substr(from, to - from);
    if (!system.empty() && system.find_first_of("'\"{}\\") == std::string::npos) return system;
  }
  return "";
}

// Nothing if its markers are none of those known here.
std::optional<ChatTemplate> ParseTemplate(const std::string& text) {
  ChatTemplate result;
  result.bos = Contains(text, "bos_token");
  if (Contains(text, "[gMASK]") || Contains(text, "<|observation|>")) {
    result.format = ChatFormat::kGlm4;
  } else if (Contains(text, "<|start_header_id|>")) {
    result.format = ChatFormat::kLlama3;
    result.bos = true;
    // The date that these templates write unless they are told another.
    if (Contains(text, "Cutting Knowledge Date: December 2023")) {
      result.system_preamble = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
    }
  } else if (Contains(text, "<|im_start|>")) {
    result.format = ChatFormat::kChatMl;
    result.default_system = DefaultSystem(text);
  } else if (Contains(text, "[INST]")) {
    result.format = Contains(text, "<<SYS>>") ? ChatFormat::kLlama2 : ChatFormat::kMistral;
    result.bos = true;
  } else if (Contains(text, "<|user|>") && Contains(text, "<|assistant|>") && !Contains(text, "<|end|>")) {
    result.format = ChatFormat::kZephyr;
  } else {
    return std::nullopt;
  }
  return result;
}

}  // namespace

ChatTemplate DetectChatTemplate(const GgufFile& file, const Tokenizer& tokenizer) {
  const std::string text = file.StringOr("tokenizer.chat_template", "");
  if (const std::optional<ChatTemplate> parsed = ParseTemplate(text)) return *parsed;
  if (tokenizer.Find("[gMASK]") && tokenizer.Find("<|assistant|>")) return {.format = ChatFormat::kGlm4};
  if (tokenizer.Find("<|start_header_id|>")) return {.format = ChatFormat::kLlama3, .bos = true};
  if (tokenizer.Find("<|im_start|>")) return {.format = ChatFormat::kChatMl};
  const bool sentencepiece = file.StringOr("tokenizer.ggml.model", "") == "llama";
  if (text.empty() && sentencepiece) return {.format = ChatFormat::kLlama2, .bos = true};
  return {.format = ChatFormat::kPlain};
}

absl::StatusOr<std::vector<ChatPart>> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                                 const std::vector<ChatMessage>& messages, bool add_generation_prompt) {
  if (messages.empty()) return UsageError("a conversation needs at least one message");
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant" && message.role != "tool") {
      return UsageError("role '" + message.role + "' is unknown: system, user, assistant or tool");
    }
  }
  Messages all = messages;
  if (chat_template.format != ChatFormat::kGlm4) {
    for (ChatMessage& message : all) {
      if (!message.function.empty()) message.content = message.function + "\n" + message.content;
    }
  }
  const bool system_added = !chat_template.default_system.empty() || !chat_template.system_preamble.empty();
  if (system_added && all.front().role != "system") all.insert(all.begin(), {"system", chat_template.default_system});
  Script script(tokenizer);
  // GLM-4's [gMASK]<sop> stands where others have BOS.
  if (chat_template.format != ChatFormat::kGlm4 && (chat_template.bos || tokenizer.adds_bos())) script.Bos();
  switch (chat_template.format) {
    case ChatFormat::kGlm4:
      WriteGlm4(all, add_generation_prompt, script);
      break;
    case ChatFormat::kChatMl:
      WriteChatMl(all, add_generation_prompt, script);
      break;
    case ChatFormat::kLlama2:
      WriteLlama2(all, script);
      break;
    case ChatFormat::kLlama3:
      WriteLlama3(all, chat_template.system_preamble, add_generation_prompt, script);
      break;
    case ChatFormat::kMistral:
      WriteMistral(all, tokenizer, script);
      break;
    case ChatFormat::kZephyr:
      WriteZephyr(all, add_generation_prompt, script);
      break;
    case ChatFormat::kPlain:
      WritePlain(all, add_generation_prompt, script);
      break;
  }
  return script.Tokenize();
}

std::vector<Token> JoinParts(const std::vector<ChatPart>& parts) {
  std::vector<Token> tokens;
  for (const ChatPart& part : parts) tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
  return tokens;
}

}  // namespace fedglm
