// What the clients of a soak ask for: every route of the API, in the proportions of a bad day, drawn from a seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"

namespace fedglm::soak {

inline constexpr double kLongPrompt = 0.85;  // part of the context

// How a client behaves.
enum class Manner {
  kWhole,              // reads to the end
  kLeaveInStream,      // closes the connection after some events
  kLeaveBeforeAnswer,  // closes it while its prompt waits or is read
  kHalfSent,           // closes it before its request is whole
  kSlowReader,         // a small buffer, read now and then
};

// What an answer with status 200 must look like.
enum class AnswerShape {
  kChat,
  kChatStream,
  kCompletion,
  kCompletionStream,
  kEmbedding,
  kTokens,
  kText,
  kModels,
  kPatient,  // a chat answer that fits PatientSchema() unless its length ran out
  kYesOrNo,  // a chat answer that is one of these words
  kNone,     // it must be refused
};

struct SoakRequest {
  std::string kind;  // its row in the report
  AnswerShape shape = AnswerShape::kChat;
  std::string method, path, body;
  Manner manner = Manner::kWhole;
  int refused_with = 0;       // the status that is the only right answer; 0: it is a good request
  bool timed = true;          // its refusal, if any, is held against the bar; request_mix.cc says for which it is not
  bool needs_engine() const;  // a good request that is refused while the queue or the memory is full
};

// What the requests have to know of the server.
struct ServedModel {
  int64_t context = 0;
  double tokens_per_word = 1;       // of FillerText()
  std::vector<std::string> models;  // names that requests may ask for
};

// So many words of a report, always the same for one `random`.
std::string FillerText(int64_t words, std::mt19937_64& random);
Json PatientSchema();

// One thread's.
class RequestMix {
 public:
  RequestMix(uint64_t seed, ServedModel model) : random_(seed), model_(std::move(model)) {}

  SoakRequest Next();
  // A bad request: its refusal needs nothing of the engine.
  SoakRequest NextRefused();
  // A good chat request, which is refused at once if the queue is full.
  SoakRequest NextStream();

 private:
  int64_t Uniform(int64_t low, int64_t high);  // both included
  std::string Prompt(double part_of_context);
  Json Chat(const std::string& prompt);
  Json Completion(const std::string& prompt);
  SoakRequest NextBadlyBehaved();  // a good stream, by a client that leaves it or reads it slowly

  std::mt19937_64 random_;
  const ServedModel model_;
};

}  // namespace fedglm::soak
