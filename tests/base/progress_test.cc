#include "base/progress.h"

#include <gtest/gtest.h>

#include <functional>

namespace fedglm {
namespace {

// What `body` prints on stderr where that is a file, not a terminal.
std::string Printed(const std::function<void()>& body) {
  testing::internal::CaptureStderr();
  body();
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, IsOnePlainLineWhereThereIsNoTerminal) {
  const std::string text = Printed([] {
    Progress progress("training", 10);
    for (int i = 1; i <= 10; ++i) progress.Update(i, "loss 1.5");
    progress.Finish("loss 1.25");
    progress.Finish("again");
    progress.Update(3);
  });
  EXPECT_EQ(text, "training 10/10  0:00  loss 1.25\n");
}

TEST(Progress, WithoutATotalItCounts) {
  EXPECT_EQ(Printed([] {
              Progress progress("receiving", 0);
              progress.Update(7);
              progress.Finish();
            }),
            "receiving 7  0:00\n");
}

TEST(Progress, QuietPrintsNothing) {
  EXPECT_EQ(Printed([] {
              Progress progress("training", 10, true);
              progress.Update(5);
              progress.Finish();
            }),
            "");
}

TEST(Progress, UnfinishedPrintsNothingWhereThereIsNoTerminal) {
  EXPECT_EQ(Printed([] {
              Progress progress("training", 10);
              progress.Update(5);
            }),
            "");
}

}  // namespace
}  // namespace fedglm
