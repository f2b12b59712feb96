// How a conversation is written as tokens, chosen from the GGUF's own template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

struct ChatMessage {
  std::string role;  // system, user, assistant, tool
  std::string content;
  // Of an assistant that calls a function: its name; `content` is the arguments then. Written as GLM-4 does, the name
  // in a line before them.
  std::string function = {};
};

enum class ChatFormat {
  kGlm4,     // [gMASK]<sop><|user|>\n…<|assistant|>\n…
  kChatMl,   // <|im_start|>user\n…<|im_end|>\n (Qwen2, SmolLM2, Yi)
  kLlama2,   // [INST] <<SYS>>\n…\n<</SYS>>\n\n… [/INST] …</s>
  kLlama3,   // <|start_header_id|>user<|end_header_id|>\n\n…<|eot_id|>
  kMistral,  // [INST] … [/INST] …</s>
  kZephyr,   // <|user|>\n…</s>\n (TinyLlama)
  kPlain,    // user: …\nassistant: …, and EOS: for a model that knows none of these
};

// Templates are not interpreted: a format is recognised by its markers, and the texts that a template adds on its own
// are read out of it.
struct ChatTemplate {
  ChatFormat format = ChatFormat::kPlain;
  std::string default_system = {};   // the system message if there is none; empty: nothing
  std::string system_preamble = {};  // begins the system message, also if there is none otherwise (Llama 3.1's date)
  bool bos = false;                  // the template writes BOS, whatever tokenizer.ggml.add_bos_token says
};

// From tokenizer.chat_template. If there is none, or one with no markers that are known here: from the control tokens
// in the vocabulary; then Llama 2's for a SentencePiece vocabulary without a template, and kPlain for all others.
ChatTemplate DetectChatTemplate(const GgufFile& file, const Tokenizer& tokenizer);

// A part of the rendered conversation. Only template text may become control tokens: content never does.
struct ChatPart {
  std::vector<Token> tokens;
  bool answer = false;  // an assistant's content and the token that ends its turn: what training computes its loss on
};

// UsageError for an unknown role or no messages. With `add_generation_prompt` it ends where the assistant begins to
// speak. The parts joined are the tokens, beginning with what the model's template begins with ([gMASK]<sop>, BOS).
// An answer is tokenized on its own, since it is written after a prompt that ends where it begins.
absl::StatusOr<std::vector<ChatPart>> RenderChat(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                                 const std::vector<ChatMessage>& messages, bool add_generation_prompt);

std::vector<Token> JoinParts(const std::vector<ChatPart>& parts);

}  // namespace fedglm
