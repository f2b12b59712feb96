#include "inference/tokenizer/chat_template.h"

namespace fedglm {
namespace {

// What a template is made of before it is tokenized: names of control tokens, and text.
struct Segment {
  std::string text;
  bool control = false;
  bool answer = false;
};

class Script {
 public:
  Script& Control(const char* name, bool answer = false) {
    segments_.push_back({name, true, answer});
    return *this;
  }
  Script& Text(std::string text, bool answer = false) {
    if (text.empty()) return *this;
    if (!segments_.empty() && !segments_.back().control && segments_.back().answer == answer) {
      segments_.back().text += text;  // one stretch of text is tokenized in one go
    } else {
      segments_.push_back({std::move(text), false, answer});
    }
    return *this;
  }
  std::vector<ChatPart> Tokenize(const Tokenizer& tokenizer, std::vector<Token> prefix) const {
    std::vector<ChatPart> parts;
    parts.push_back({std::move(prefix), false});
    for (const Segment& segment : segments_) {
      if (parts.back().answer != segment.answer) parts.push_back({{}, segment.answer});
      std::vector<Token>& tokens = parts.back().tokens;
      const std::optional<Token> control = segment.control ? tokenizer.Find(segment.text) : std::nullopt;
      if (control) {
        tokens.push_back(*control);
        continue;
      }
      const std::vector<Token> text =
          tokenizer.Encode(segment.text, {.add_special = false, .parse_special = false, .user_defined = false});
      tokens.insert(tokens.end(), text.begin(), text.end());
    }
    return parts;
  }

 private:
  std::vector<Segment> segments_;
};

bool IsAssistant(const ChatMessage& message) { return message.role == "assistant"; }

// [gMASK]<sop><|user|>\n…<|assistant|>\n…: a turn ends where the next one's role begins; the model writes that token.
Script WriteGlm4(const std::vector<ChatMessage>& messages, bool prompt) {
  Script script;
  script.Control("[gMASK]").Control("<sop>");
  bool role_written = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string role = messages[i].role == "tool" ? "observation" : messages[i].role;
    if (!role_written) script.Control(("<|" + role + "|>").c_str());
    role_written = false;
    if (!IsAssistant(messages[i])) {
      script.Text("\n" + messages[i].content);
      continue;
    }
    script.Text("\n").Text(messages[i].content, true);
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
  return script;
}

Script WriteChatMl(const std::vector<ChatMessage>& messages, bool prompt) {
  Script script;
  for (const ChatMessage& message : messages) {
    const bool answer = IsAssistant(message);
    script.Control("<|im_start|>").Text(message.role + "\n");
    script.Text(message.content, answer).Control("<|im_end|>", answer).Text("\n");
  }
  if (prompt) script.Control("<|im_start|>").Text("assistant\n");
  return script;
}

Script WriteLlama3(const std::vector<ChatMessage>& messages, bool prompt) {
  Script script;
  for (const ChatMessage& message : messages) {
    const bool answer = IsAssistant(message);
    script.Control("<|start_header_id|>").Text(message.role == "tool" ? "ipython" : message.role);
    script.Control("<|end_header_id|>").Text("\n\n").Text(message.content, answer).Control("<|eot_id|>", answer);
  }
  if (prompt) script.Control("<|start_header_id|>").Text("assistant").Control("<|end_header_id|>").Text("\n\n");
  return script;
}

// [INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] answer </s>
Script WriteLlama2(const std::vector<ChatMessage>& messages) {
  Script script;
  std::string system;
  bool first = true;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      system = "<<SYS>>\n" + message.content + "\n<</SYS>>\n\n";
    } else if (IsAssistant(message)) {
      script.Text(message.content, true).Control("</s>", true);
      first = false;
    } else {
      if (!first) script.Control("<s>");
      script.Text("[INST] " + system + message.content + " [/INST]");
      system.clear();
    }
  }
  return script;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

ChatTemplate DetectChatTemplate(const GgufFile& file, const Tokenizer& tokenizer) {
  const std::string text = file.StringOr("tokenizer.chat_template", "");
  if (!text.empty()) {
    if (Contains(text, "[gMASK]") || Contains(text, "<|observation|>")) return {ChatFormat::kGlm4, ""};
    if (Contains(text, "<|start_header_id|>")) return {ChatFormat::kLlama3, ""};
    if (Contains(text, "<|im_start|>")) {
      ChatTemplate chat_template = {ChatFormat::kChatMl, ""};
      for (const char* known : {"You are a helpful AI assistant named SmolLM, trained by Hugging Face",
                                "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."}) {
        if (Contains(text, known)) chat_template.default_system = known;
      }
      return chat_template;
    }
    if (Contains(text, "[INST]")) return {ChatFormat::kLlama2, ""};
  }
  if (tokenizer.Find("[gMASK]") && tokenizer.Find("<|assistant|>")) return {ChatFormat::kGlm4, ""};
  if (tokenizer.Find("<|start_header_id|>")) return {ChatFormat::kLlama3, ""};
  if (tokenizer.Find("<|im_start|>")) return {ChatFormat::kChatMl, ""};
  if (file.StringOr("tokenizer.ggml.model", "") == "llama") return {ChatFormat::kLlama2, ""};
  return {ChatFormat::kChatMl, ""};
}

absl::StatusOr<std::vector<ChatPart>> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                                 const std::vector<ChatMessage>& messages, bool add_generation_prompt) {
  if (messages.empty()) return UsageError("a conversation needs at least one message");
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant" && message.role != "tool") {
      return UsageError("role '" + message.role + "' is unknown: system, user, assistant or tool");
    }
  }
  std::vector<ChatMessage> all = messages;
  if (!chat_template.default_system.empty() && all.front().role != "system") {
    all.insert(all.begin(), {"system", chat_template.default_system});
  }
  std::vector<Token> prefix;
  const bool needs_bos = chat_template.format == ChatFormat::kLlama3 || chat_template.format == ChatFormat::kLlama2;
  if (tokenizer.bos() && (tokenizer.adds_bos() || needs_bos) && chat_template.format != ChatFormat::kGlm4) {
    prefix.push_back(*tokenizer.bos());
  }
  Script script;
  switch (chat_template.format) {
    case ChatFormat::kGlm4: script = WriteGlm4(all, add_generation_prompt); break;
    case ChatFormat::kChatMl: script = WriteChatMl(all, add_generation_prompt); break;
    case ChatFormat::kLlama3: script = WriteLlama3(all, add_generation_prompt); break;
    case ChatFormat::kLlama2: script = WriteLlama2(all); break;
  }
  return script.Tokenize(tokenizer, std::move(prefix));
}

std::vector<Token> JoinParts(const std::vector<ChatPart>& parts) {
  std::vector<Token> tokens;
  for (const ChatPart& part : parts) tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
  return tokens;
}

}  // namespace fedglm
