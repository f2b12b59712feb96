#include "training/data/records.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/golden_tokenizer.h"

namespace fedglm::fuzz {
namespace {

// A file without a disk; its path while this lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view contents) : fd_(::memfd_create("records", MFD_CLOEXEC)) {
    const ssize_t written = fd_ < 0 ? -1 : ::write(fd_, contents.data(), contents.size());
    Require(written == static_cast<ssize_t>(contents.size()), "there is memory for a file");
  }
  ~MemoryFile() { ::close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace

void Records(std::string_view input) {
  constexpr ExitCode kBadFile = ExitCode::kBadInputFile;
  const MemoryFile file(input);
  const fedglm::ChatTemplate chat_template{.format = ChatFormat::kGlm4};
  const auto examples = LoadExamples({file.path()}, GoldenTokenizer(), chat_template, 32);
  if (WasRead(examples.status(), kBadFile)) {
    for (const Example& example : examples->examples) {
      Require(example.tokens.size() == example.counted.size(), "every token counts or does not");
      Require(example.tokens.size() <= 32, "an example is no longer than the sequence length");
      Require(example.CountedTokens() > 0 && !example.counted[0], "something counts, and never the first");
    }
  }
  (void)WasRead(LoadTexts({file.path()}).status(), kBadFile);
}

}  // namespace fedglm::fuzz
