#include "inference/kernels/instruction_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/support/scoped_variable.h"

namespace fedglm {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

absl::Status Check(const char* value) {
  const ScopedVariable variable("FEDGLM_ISA", value);
  return CheckInstructionSetOfEnvironment();
}

// There is always one: no CPU has both x86's and ARM's.
std::string KnownButNotHere() {
  const std::vector<std::string_view> here = AvailableInstructionSets();
  for (const std::string_view name : KnownInstructionSets()) {
    if (std::find(here.begin(), here.end(), name) == here.end()) return std::string(name);
  }
  return "";
}

std::string Listed(const std::vector<std::string_view>& names) {
  std::string list;
  for (const std::string_view name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

TEST(InstructionSets, AvailableOnesAreKnownAndBeginWithTheReference) {
  const std::vector<std::string_view> known = KnownInstructionSets();
  for (const std::string_view name : AvailableInstructionSets()) EXPECT_THAT(known, Contains(name));
  EXPECT_EQ(AvailableInstructionSets().front(), "scalar");
  EXPECT_THAT(AvailableInstructionSets(), Contains(InstructionSet()));
}

TEST(InstructionSets, TheEnvironmentMayNameAnyThatIsAvailable) {
  for (const std::string_view name : AvailableInstructionSets())
    EXPECT_TRUE(Check(std::string(name).c_str()).ok()) << name;
  EXPECT_TRUE(Check("").ok());
  EXPECT_TRUE(Check(nullptr).ok());
}

TEST(InstructionSets, AnUnknownNameInTheEnvironmentIsAnErrorThatListsTheKnownOnes) {
  for (const std::string& name :
       std::vector<std::string>{"mmx", "avx51", "avx512vnn", "avx", "AVX2", " avx2", "neon_", "scalar,avx2"}) {
    const absl::Status status = Check(name.c_str());
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration) << name;
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr("FEDGLM_ISA: '" + name + "' is not an instruction set"),
                      HasSubstr("known: " + Listed(KnownInstructionSets())),
                      HasSubstr("this machine has: " + Listed(AvailableInstructionSets())), Not(HasSubstr("\n"))));
  }
}

TEST(InstructionSets, AKnownNameThatThisMachineLacksIsAnErrorThatSaysWhatItNeeds) {
  const std::string name = KnownButNotHere();
  ASSERT_NE(name, "");
  const absl::Status status = Check(name.c_str());
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("FEDGLM_ISA: this machine does not have '" + name + "', which needs "),
                    HasSubstr("this machine has: " + Listed(AvailableInstructionSets())), Not(HasSubstr("\n"))));
}

TEST(InstructionSets, SelectingWhatIsNotAvailableIsAnErrorAndChangesNothing) {
  const std::string_view before = InstructionSet();
  for (const std::string& name : {std::string("mmx"), std::string(), KnownButNotHere()}) {
    const absl::Status status = SelectInstructionSet(name);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << name;
    EXPECT_THAT(Message(status), HasSubstr("this machine has: " + Listed(AvailableInstructionSets())));
    EXPECT_EQ(InstructionSet(), before);
  }
}

}  // namespace
}  // namespace fedglm
