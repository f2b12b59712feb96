#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace fedglm {
namespace {

constexpr int kBarWidth = 28;

std::string Duration(double seconds) {
  char text[32];
  const long total = static_cast<long>(seconds);
  if (total >= 3600) {
    std::snprintf(text, sizeof(text), "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  } else {
    std::snprintf(text, sizeof(text), "%ld:%02ld", total / 60, total % 60);
  }
  return text;
}

}  // namespace

Progress::Progress(std::string label, int64_t total, bool quiet)
    : label_(std::move(label)),
      total_(total),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      started_(std::chrono::steady_clock::now()),
      drawn_(started_) {}

Progress::~Progress() {
  if (!quiet_ && terminal_ && !finished_ && done_ > 0) std::fputc('\n', stderr);
}

void Progress::Update(int64_t done, const std::string& note) {
  done_ = done;
  note_ = note;
  const auto now = std::chrono::steady_clock::now();
  const auto wait = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (quiet_ || finished_ || now - drawn_ < wait) return;
  drawn_ = now;
  Draw(false);
}

void Progress::Finish(const std::string& note) {
  if (finished_) return;
  finished_ = true;
  if (!note.empty()) note_ = note;
  if (total_ > 0) done_ = total_;
  if (!quiet_) Draw(true);
}

void Progress::Draw(bool final_line) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  std::string line = label_ + " ";
  if (total_ > 0) {
    const int64_t done = std::min(done_, total_);
    if (terminal_) {
      const int filled = static_cast<int>(done * kBarWidth / total_);
      line += "[" + std::string(static_cast<size_t>(filled), '#') +
              std::string(static_cast<size_t>(kBarWidth - filled), '.') + "] ";
    }
    line += std::to_string(done) + "/" + std::to_string(total_);
  } else {
    line += std::to_string(done_);
  }
  line += "  " + Duration(seconds);
  if (!note_.empty()) line += "  " + note_;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), final_line ? "\n" : "");
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

}  // namespace fedglm
