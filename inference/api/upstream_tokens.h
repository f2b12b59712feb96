// How many tokens an upstream has written: they count against the key's limit as the engine's own do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fedglm {

// What the answer's `usage` says; 0 if it says nothing.
int64_t TokensOfAnswer(std::string_view json);

// Of a stream of events (text/event-stream): what its `usage` says, and until then one for each event with a part of
// the answer.
class StreamTokens {
 public:
  // The next bytes, wherever they were cut.
  void Add(std::string_view bytes);
  int64_t count() const { return usage_.value_or(events_); }

 private:
  void EndLine();

  std::string line_;  // as much of it as has come
  int64_t events_ = 0;
  std::optional<int64_t> usage_;
};

}  // namespace fedglm
