#include "aggregator/updates/update_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;

Adapter AdapterOf(int64_t outputs) {
  AdapterConfig config;
  config.rank = 8;
  return MakeSeededAdapter(config, {{"large", 8, outputs}, {"small", 8, 100}}, 1);
}

// The peak of this process's memory from now on.
void ForgetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }
int64_t StatusKib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != key) continue;
    int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return -1;
}

class UpdateCheckTest : public testing::Test {
 protected:
  UpdateFile Parsed(const std::string& bytes) {
    const std::filesystem::path path = folder_.path() / "update";
    EXPECT_TRUE(WriteFileAtomically(path, bytes).ok());
    UpdateFile file = Get(UpdateFile::Open(path));
    EXPECT_TRUE(file.Parse("update").ok());
    return file;
  }
  absl::Status Check(const TensorMap& update, const Adapter& global = SmallAdapter()) {
    return CheckUpdateFile(Parsed(SerializeTensors(update)), global, kForm);
  }
  TemporaryDirectory folder_ = MakeFolder();
};

TEST_F(UpdateCheckTest, SaysWhatCheckUpdateSays) {
  const TensorMap good = RandomUpdate(SmallAdapter(), kForm, 1);
  EXPECT_TRUE(Check(good).ok());
  for (const auto& [name, tensor] : good) {
    std::vector<TensorMap> bad(4, good);
    bad[0].erase(name);
    std::swap(bad[1][name].rows, bad[1][name].columns);
    bad[2][name + "x"] = tensor;
    bad[3][name].values.back() = std::numeric_limits<float>::quiet_NaN();
    for (const TensorMap& update : bad) {
      const absl::Status status = Check(update);
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
      EXPECT_EQ(Message(status), Message(CheckUpdate(update, SmallAdapter(), kForm)));
    }
  }
}

TEST_F(UpdateCheckTest, BoundsEveryValueOfEveryPiece) {
  const Adapter global = AdapterOf(20000);  // two pieces and a part of one
  const TensorMap good = TensorsOf(global, kForm);
  const size_t piece = UpdateFile::kPieceBytes / sizeof(float);
  for (const float value : {0x1p30f, -0x1p30f, 1.1e9f, -3e38f, std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{0}, piece - 1, piece, good.at("large.lora_B").values.size() - 1}) {
      TensorMap update = good;
      update["large.lora_B"].values[at] = value;
      EXPECT_EQ(ExitCodeOf(Check(update, global)), std::abs(value) > 0x1p30f ? ExitCode::kRefused : ExitCode::kDone);
    }
  }
}

TEST_F(UpdateCheckTest, NoMoreThanAPieceIsInMemory) {
  const Adapter global = AdapterOf(1 << 20);
  const std::string bytes = SerializeTensors(TensorsOf(global, kForm));
  const std::filesystem::path path = folder_.path() / "update";
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  ForgetPeak();
  const int64_t before = StatusKib("VmHWM:");
  UpdateFile file = Get(UpdateFile::Open(path));
  EXPECT_EQ(Get(file.Sha256()), Sha256Hex(bytes));
  ASSERT_TRUE(file.Parse("update").ok());
  EXPECT_TRUE(CheckUpdateFile(file, global, kForm).ok());
  // 32 MiB of update, of which a piece is mapped and a piece is converted.
  EXPECT_LT(StatusKib("VmHWM:") - before, 8 << 10);
}

TEST_F(UpdateCheckTest, NoTensorThatWasReadStaysMapped) {
  TensorMap update;
  for (int i = 0; i < 256; ++i) update["t" + std::to_string(1000 + i)] = Matrix::Zero(1 << 15, 1);
  const UpdateFile file = Parsed(SerializeTensors(update));
  const int64_t before = StatusKib("RssFile:");
  std::vector<float> values(1 << 15);
  for (const auto& [name, tensor] : update) ASSERT_TRUE(file.Read(name, values).ok());
  EXPECT_LT(StatusKib("RssFile:") - before, 4 << 10);  // of 32 MiB
}

TEST_F(UpdateCheckTest, ATypeOfTwoBytesIsReadToItsEnd) {
  // One tensor of 300 000 BF16 values, the last of which is infinite.
  const size_t values = 300000;
  std::string header = R"({"m.lora_B":{"dtype":"BF16","shape":[300000,1],"data_offsets":[0,600000]}})";
  const uint64_t header_bytes = header.size();
  std::string bytes(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  bytes += header + std::string(2 * values, '\0');
  AdapterConfig config;
  config.rank = 1;
  const Adapter global = MakeSeededAdapter(config, {{"m", 4, 300000}}, 1);
  EXPECT_TRUE(CheckUpdateFile(Parsed(bytes), global, kForm).ok());
  bytes[bytes.size() - 2] = '\x80';
  bytes[bytes.size() - 1] = '\x7f';
  EXPECT_EQ(ExitCodeOf(CheckUpdateFile(Parsed(bytes), global, kForm)), ExitCode::kRefused);
}

}  // namespace
}  // namespace fedglm
