#include "adapter/event_stream.h"
#include "base/json.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace fedglm {
namespace {

using testing::HasSubstr;

TrainerEvent Step(int64_t number) {
  TrainerEvent event;
  event.event = "step";
  event.step = number;
  return event;
}

TEST(EventStream, WhatIsWrittenIsRead) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const EventWriter writer(ends[1]);
  EXPECT_EQ(fcntl(ends[1], F_GETFD), FD_CLOEXEC) << "a child would keep the stream open";
  writer.Write(Step(7));
  char text[4096];
  const ssize_t size = read(ends[0], text, sizeof(text));
  ASSERT_GT(size, 1);
  EXPECT_EQ(text[size - 1], '\n');
  const auto event = EventReader("it").Read({text, static_cast<size_t>(size) - 1});
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->step, 7);
  const auto before = signal(SIGPIPE, SIG_IGN);
  close(ends[0]);
  writer.Write(Step(8));  // nobody reads: that is no error of the one who writes
  signal(SIGPIPE, before);
  close(ends[1]);
}

TEST(EventStream, WhatIsNoEventIsSkippedAndLoggedOnceAndShort) {
  testing::internal::CaptureStderr();
  EventReader reader("the trainer");
  EXPECT_TRUE(reader.Read(R"({"event":"started"})").has_value());
  EXPECT_FALSE(reader
                   .Read(R"({"event":"evaluated"[W1130 Warning: a library)" + std::string("\0\x1b\xff", 3) +
                         std::string(1 << 20, 'x'))
                   .has_value());
  for (const char* line : {"", "[]", "7", "null", R"({"step":3})", R"({"event":"done")"}) {
    EXPECT_FALSE(reader.Read(line).has_value()) << line;
  }
  EXPECT_TRUE(reader.Read(R"({"event":"done"})").has_value());
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("the trainer wrote a line of 1048"));
  EXPECT_THAT(log, HasSubstr("evaluated\"[W1130 Warning: a library???xxx"));
  EXPECT_LT(log.size(), 400u);
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST(EventStream, AnErrorArrivesWithItsKindAndMessage) {
  for (const absl::Status& error :
       {FailedError("disk full"), UsageError("no model"), ConfigurationError("a key"), RefusedError("revoked"),
        UnreachableError("no port"), BadFileError("train.jsonl:7: \"x\" is no record"), NotFoundError("no file")}) {
    const TrainerEvent sent = FailedEvent(error);
    const auto event = EventReader("it").Read(DumpJson(ToJson(sent)));
    ASSERT_TRUE(event.has_value());
    EXPECT_EQ(ExitCodeOf(ErrorOf(*event)), ExitCodeOf(error));
    EXPECT_EQ(Message(ErrorOf(*event)), Message(error));
  }
  TrainerEvent strange;
  strange.event = "failed";
  strange.exit_code = 0;
  EXPECT_EQ(ExitCodeOf(ErrorOf(strange)), ExitCode::kFailed) << "what failed is never done";
}

}  // namespace
}  // namespace fedglm
