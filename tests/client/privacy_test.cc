#include "client/privacy.h"

#include <gtest/gtest.h>

#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

constexpr double kFloatTolerance = 1e-6;  // relative: values are rounded to float32 once

TensorMap Update() { return RandomUpdate(SmallAdapter(), UpdateForm::kChangeOfFactors, 3); }

TEST(Privacy, AnUpdateIsScaledDownToTheClippingNormAndKeepsItsDirection) {
  const TensorMap before = Update();
  const double norm = NormOf(before);
  const double bound = norm / 3;
  TensorMap clipped = before;
  EXPECT_EQ(ClipUpdate({.max_update_norm = bound}, clipped), norm) << "the norm that it had";
  EXPECT_NEAR(NormOf(clipped), bound, bound * kFloatTolerance);
  ASSERT_TRUE(AddScaled(-1.0 / 3, before, clipped).ok());
  EXPECT_LT(NormOf(clipped), bound * kFloatTolerance) << "what is left after a third of the update is taken away";
}

TEST(Privacy, AnUpdateWithinTheBoundStaysAsItIs) {
  const TensorMap before = Update();
  for (const double bound : {NormOf(before) * 1.001, 1e12, 0.0}) {
    TensorMap update = before;
    EXPECT_EQ(ClipUpdate({.max_update_norm = bound}, update), NormOf(before));
    EXPECT_EQ(update, before) << "bound " << bound;
  }
}

TEST(Privacy, AnUpdateOfZeroStaysZero) {
  TensorMap update = {{"x.lora_B", Matrix::Zero(3, 2)}};
  EXPECT_EQ(ClipUpdate({.max_update_norm = 1}, update), 0);
  EXPECT_EQ(update.at("x.lora_B"), Matrix::Zero(3, 2));
}

}  // namespace
}  // namespace fedglm
