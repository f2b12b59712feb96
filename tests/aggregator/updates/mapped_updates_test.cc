#include "aggregator/updates/mapped_updates.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;

class MappedUpdatesTest : public testing::Test {
 protected:
  std::filesystem::path Write(const std::string& name, const std::string& bytes) {
    const std::filesystem::path path = folder_.path() / name;
    EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
    return path;
  }
  TemporaryDirectory folder_ = MakeFolder();
};

TEST_F(MappedUpdatesTest, GivesTheTensorsOfEachInTheOrderInWhichTheyWereAdded) {
  MappedUpdates updates;
  std::vector<TensorMap> sent;
  for (unsigned i = 0; i < 3; ++i) {
    sent.push_back(RandomUpdate(SmallAdapter(), kForm, i));
    const std::string bytes = SerializeTensors(sent.back());
    ASSERT_TRUE(updates.Add(Write(std::to_string(i), bytes), Sha256Hex(bytes), 7 + i).ok());
  }
  ASSERT_EQ(updates.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(updates.weight(i), static_cast<int64_t>(7 + i));
    for (const auto& [name, tensor] : sent[i]) {
      std::vector<float> values(tensor.values.size());
      ASSERT_TRUE(updates.Read(i, name, values).ok());
      EXPECT_EQ(values, tensor.values) << name;
    }
  }
  std::vector<float> values(3);
  EXPECT_EQ(ExitCodeOf(updates.Read(0, "nobody's", values)), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(updates.Read(0, sent[0].begin()->first, values)), ExitCode::kBadInputFile);
}

TEST_F(MappedUpdatesTest, WhatIsNotThereAsItWasAcceptedIsRefused) {
  const std::string bytes = SerializeTensors(RandomUpdate(SmallAdapter(), kForm, 1));
  std::string damaged = bytes;
  damaged.back() ^= 1;
  MappedUpdates updates;
  EXPECT_EQ(ExitCodeOf(updates.Add(folder_.path() / "none", Sha256Hex(bytes), 1)), ExitCode::kBadInputFile);
  for (const std::string& other : {damaged, bytes.substr(0, 100), std::string()}) {
    EXPECT_EQ(ExitCodeOf(updates.Add(Write("a", other), Sha256Hex(bytes), 1)), ExitCode::kBadInputFile);
  }
  const std::string no_tensors = "these are none";
  EXPECT_EQ(ExitCodeOf(updates.Add(Write("b", no_tensors), Sha256Hex(no_tensors), 1)), ExitCode::kBadInputFile);
  EXPECT_EQ(updates.size(), 0u);
}

}  // namespace
}  // namespace fedglm
