// Calibration on what a site reads: which importance is measured, and what is refused.
#include "inference/engine/calibration.h"

#include <numeric>

#include "examples/hospital/report_generator.h"
#include "gtest/gtest.h"
#include "inference/engine/engine.h"

namespace fedglm {
namespace {

absl::Status GoOnReading(int64_t, int64_t) { return absl::OkStatus(); }

std::string Conversations(const std::vector<hospital::Report>& reports) {
  std::string text;
  for (const hospital::Report& report : reports) {
    text += "[gMASK]<sop><|user|>\n" + hospital::QuestionOf(report) + "<|assistant|>\n" + report.impression +
            "<|user|>";
  }
  return text;
}

TEST(ColumnEnergy, IsTheMeanOfSquares) {
  ColumnEnergy energy;
  const float first[] = {1, 2, 3, 4}, second[] = {-3, 0};
  energy.Observe("a", first, 2, 2);
  energy.Observe("a", second, 1, 2);
  energy.Observe("b", second, 1, 2);
  const ImportanceByTensor importance = energy.Importance();
  ASSERT_EQ(importance.size(), 2u);
  EXPECT_FLOAT_EQ(importance.at("a")[0], (1 + 9 + 9) / 3.0f);
  EXPECT_FLOAT_EQ(importance.at("a")[1], (4 + 16 + 0) / 3.0f);
  EXPECT_EQ(importance.at("b"), (std::vector<float>{9, 0}));
}

class Calibration : public testing::Test {
 protected:
  static std::filesystem::path Model() {
    return std::filesystem::path(FEDGLM_SOURCE_DIR) / "examples/hospital/glm4-hospital.gguf";
  }
  static std::string TrainingText() { return Conversations(hospital::CommonReports(60, 1)); }

};

TEST_F(Calibration, EveryMatrixGetsTheImportanceOfItsColumns) {
  const auto file = *GgufFile::Open(Model());
  const auto importance = MeasureImportance(Model(), TrainingText(), {.threads = 1, .window = 128}, GoOnReading);
  ASSERT_TRUE(importance.ok()) << Message(importance.status());
  size_t matrices = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.dimensions < 2) continue;
    ++matrices;
    const auto found = importance->find(tensor.name);
    ASSERT_NE(found, importance->end()) << tensor.name;
    EXPECT_EQ(static_cast<int64_t>(found->second.size()), tensor.columns()) << tensor.name;
    EXPECT_GT(std::accumulate(found->second.begin(), found->second.end(), 0.0), 0.0) << tensor.name;
  }
  EXPECT_EQ(importance->size(), matrices);
  EXPECT_EQ(importance->at("blk.0.attn_q.weight"), importance->at("blk.0.attn_k.weight")) << "they have the same input";
}

TEST_F(Calibration, StopsAndRefuses) {
  const auto stop = [](int64_t, int64_t) { return CancelledError("stopped"); };
  const absl::Status stopped = MeasureImportance(Model(), TrainingText(), {.threads = 1}, stop).status();
  EXPECT_EQ(stopped.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ExitCodeOf(MeasureImportance(Model(), "", {.threads = 1}, GoOnReading).status()), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(MeasureImportance("/nowhere.gguf", "text", {}, GoOnReading).status()), ExitCode::kBadInputFile);
}

}  // namespace
}  // namespace fedglm
