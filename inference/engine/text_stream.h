// Turns tokens into text that can be shown: holds back the beginning of a character or of a stop text until it is known
// which it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fedglm {

class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  // Adds a token's bytes and returns what may be shown now. After a stop text was seen, stopped() is true and nothing
  // from its first byte on is ever returned.
  std::string Push(std::string_view piece);
  // What was held back, at the end of the answer.
  std::string Flush();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

// How many bytes at the end of `text` begin a UTF-8 character that is not complete: 0 to 3.
size_t IncompleteUtf8Suffix(std::string_view text);

}  // namespace fedglm
