// What reads bytes that somebody else wrote, one function for each reader. Any input at all may be given: it is read or
// refused. A crash, a sanitizer's report, an endless loop, or Require() is a bug.
//
// libfuzzer_main.cc makes a libFuzzer program of them (preset `asan`); corpus_test.cc runs all of them over corpus/ in
// every build.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fedglm::fuzz {

void Gguf(std::string_view input);              // a model file: hyperparameters, tokenizer, chat template
void Safetensors(std::string_view input);       // an adapter's weights, an update, an adapter on the wire
void Checkpoint(std::string_view input);        // a Hugging Face folder that is imported
void AdapterDocuments(std::string_view input);  // adapter_config.json, provenance.json
void Tokenizer(std::string_view input);         // text
void ChatTemplate(std::string_view input);      // a model's template, and a conversation
void ChatRequest(std::string_view input);       // bodies of the HTTP API
void Grammar(std::string_view input);           // GBNF and JSON schemas, of a request
void Wire(std::string_view input);              // messages of proto/, and what is in their fields
void Configuration(std::string_view input);     // TOML of the node and of the aggregator
void TrainingJob(std::string_view input);       // lines between node and trainer
void Records(std::string_view input);           // JSON Lines
void Json(std::string_view input);

struct Target {
  const char* name;  // also its folder in corpus/
  void (*run)(std::string_view input);
};
inline constexpr Target kTargets[] = {
    {"gguf", Gguf},
    {"safetensors", Safetensors},
    {"checkpoint", Checkpoint},
    {"adapter_documents", AdapterDocuments},
    {"tokenizer", Tokenizer},
    {"chat_template", ChatTemplate},
    {"grammar", Grammar},
    {"chat_request", ChatRequest},
    {"wire", Wire},
    {"configuration", Configuration},
    {"training_job", TrainingJob},
    {"records", Records},
    {"json", Json},
};

// What must hold whatever the input is.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Whether it was read. If not, it is the kind of error that its reader promises.
inline bool WasRead(const absl::Status& status, ExitCode refusal) {
  if (status.ok()) return true;
  Require(ExitCodeOf(status) == refusal, "the input is refused with the kind of error that the reader promises");
  Require(!status.message().empty(), "a refusal says why");
  return false;
}

// The first byte, taken from the input; 0 if there is none. It chooses between the forms of one target.
inline unsigned TakeByte(std::string_view& input) {
  if (input.empty()) return 0;
  const unsigned byte = static_cast<unsigned char>(input.front());
  input.remove_prefix(1);
  return byte;
}

// Up to the next NUL, taken from the input.
inline std::string_view TakeField(std::string_view& input) {
  const size_t end = input.find('\0');
  const std::string_view field = input.substr(0, end);
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  return field;
}

}  // namespace fedglm::fuzz
