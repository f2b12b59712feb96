#include "inference/api/body_memory.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

TEST(BodyMemory, LargeBodiesShareIt) {
  BodyMemory memory;
  BodyReservation first(memory);
  EXPECT_TRUE(first.GrowTo(kMaxBodyBytes));
  {
    BodyReservation second(memory), third(memory);
    EXPECT_TRUE(second.GrowTo(kMaxBodyBytes / 2));
    EXPECT_TRUE(second.GrowTo(kMaxBodyBytes)) << "it grows by what came";
    EXPECT_FALSE(third.GrowTo(BodyReservation::kLarge));
    EXPECT_TRUE(third.GrowTo(BodyReservation::kLarge - 1)) << "what is small is not counted";
    first.Release();
    EXPECT_TRUE(third.GrowTo(kMaxBodyBytes));
    EXPECT_FALSE(first.GrowTo(BodyReservation::kLarge));
  }
  EXPECT_EQ(memory.large_bytes, 0u) << "what was refused is not kept";
  EXPECT_TRUE(first.GrowTo(kMaxBodyBytes));
  EXPECT_EQ(memory.large_bytes, kMaxBodyBytes);
}

}  // namespace
}  // namespace fedglm
