#include "adapter/tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "adapter/safetensors.h"
#include "tests/adapter/sample_adapter.h"

namespace fedglm {
namespace {

const char kQuery[] = "model.layers.0.self_attn.q_proj";

constexpr UpdateForm kModes[] = {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors, UpdateForm::kFactors,
                                 UpdateForm::kGradientOfB};

// The sample after some training: A and B moved by other amounts.
Adapter Trained() {
  Adapter adapter = SampleAdapter();
  for (auto& [module, pair] : adapter.modules) {
    for (float& value : pair.a.values) value += 0.5f;
    for (float& value : pair.b.values) value -= 0.25f;
  }
  return adapter;
}

TEST(UpdateForm, NamesAreReadBack) {
  for (const UpdateForm mode : kModes) EXPECT_EQ(*ParseUpdateForm(UpdateFormName(mode)), mode);
  EXPECT_EQ(*ParseUpdateForm("freeze-a"), UpdateForm::kChangeOfB);
  EXPECT_EQ(*ParseUpdateForm("fedsgd"), UpdateForm::kGradientOfB);
  for (const char* name : {"", "Stack", "fedavg"}) {
    EXPECT_EQ(ExitCodeOf(ParseUpdateForm(name).status()), ExitCode::kUsage) << name;
  }
}

TEST(TensorsOf, AreTheTrainableFactors) {
  EXPECT_TRUE(TrainsA(UpdateForm::kChangeOfFactors) && TrainsA(UpdateForm::kFactors));
  EXPECT_FALSE(TrainsA(UpdateForm::kChangeOfB) || TrainsA(UpdateForm::kGradientOfB));
  for (const UpdateForm mode : kModes) {
    const TensorMap tensors = TensorsOf(SampleAdapter(), mode);
    EXPECT_EQ(tensors.size(), TrainsA(mode) ? 4u : 2u);
    EXPECT_EQ(tensors.at(std::string(kQuery) + ".lora_B"), SampleAdapter().modules.at(kQuery).b);
    if (TrainsA(mode)) {
      EXPECT_EQ(tensors.at(std::string(kQuery) + ".lora_A"), SampleAdapter().modules.at(kQuery).a);
    }
  }
}

TEST(MakeUpdate, IsTheDifferenceOrForStackTheFactorsThemselves) {
  for (const UpdateForm mode : kModes) {
    const absl::StatusOr<TensorMap> update = MakeUpdate(SampleAdapter(), Trained(), mode);
    ASSERT_TRUE(update.ok()) << Message(update.status());
    if (mode == UpdateForm::kFactors) {
      EXPECT_EQ(*update, TensorsOf(Trained(), mode));
      continue;
    }
    EXPECT_EQ(update->size(), TrainsA(mode) ? 4u : 2u);
    for (const auto& [name, tensor] : *update) {
      const float expected = name.back() == 'A' ? 0.5f : -0.25f;
      for (const float value : tensor.values) EXPECT_NEAR(value, expected, 1e-5) << name;
    }
  }
}

TEST(MakeUpdate, AddedToTheStartIsTheEnd) {
  for (const UpdateForm mode : {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors}) {
    TensorMap tensors = TensorsOf(SampleAdapter(), mode);
    ASSERT_TRUE(AddScaled(1.0, *MakeUpdate(SampleAdapter(), Trained(), mode), tensors).ok());
    const TensorMap expected = TensorsOf(Trained(), mode);
    for (const auto& [name, tensor] : tensors) {
      for (size_t i = 0; i < tensor.values.size(); ++i) EXPECT_FLOAT_EQ(tensor.values[i], expected.at(name).values[i]);
    }
  }
}

TEST(MakeUpdate, AdaptersOfOtherModulesOrShapesAreRefused) {
  Adapter fewer = Trained(), larger = Trained();
  fewer.modules.erase(kQuery);
  larger.modules[kQuery].b = Matrix::Zero(5, 2);
  for (const UpdateForm mode : kModes) {
    for (const Adapter* after : {&fewer, &larger}) {
      const absl::StatusOr<TensorMap> update = MakeUpdate(SampleAdapter(), *after, mode);
      EXPECT_EQ(ExitCodeOf(update.status()), ExitCode::kBadInputFile);
      const std::string message = Message(update.status());
      EXPECT_NE(message.find(std::string(kQuery) + ".lora_"), std::string::npos) << message;
    }
  }
}

TEST(AddScaled, IsLinear) {
  TensorMap sum = {{"x", {1, 3, {1, 2, 3}}}, {"y", {1, 1, {-1}}}};
  ASSERT_TRUE(AddScaled(-0.5, {{"x", {1, 3, {2, 4, 8}}}, {"y", {1, 1, {3}}}}, sum).ok());
  EXPECT_EQ(sum, (TensorMap{{"x", {1, 3, {0, 0, -1}}}, {"y", {1, 1, {-2.5}}}}));
  ASSERT_TRUE(AddScaled(0, sum, sum).ok());
  EXPECT_EQ(sum.at("y").values[0], -2.5f);
}

TEST(AddScaled, OtherNamesOrShapesAreRefusedAndChangeNothing) {
  const TensorMap before = {{"x", {1, 2, {1, 2}}}, {"y", {1, 1, {3}}}};
  const TensorMap others[] = {{{"x", {1, 2, {9, 9}}}},
                              {{"x", {1, 2, {9, 9}}}, {"y", {1, 1, {9}}}, {"z", {1, 1, {9}}}},
                              {{"x", {2, 1, {9, 9}}}, {"y", {1, 1, {9}}}}};
  for (const TensorMap& other : others) {
    TensorMap sum = before;
    EXPECT_EQ(ExitCodeOf(AddScaled(1, other, sum)), ExitCode::kBadInputFile);
    EXPECT_EQ(sum, before);
  }
}

TEST(NormOf, IsOverAllValues) {
  EXPECT_EQ(NormOf({}), 0);
  EXPECT_DOUBLE_EQ(NormOf({{"x", {1, 2, {3, 0}}}, {"y", {2, 1, {0, -4}}}}), 5);
  EXPECT_NEAR(NormOf({{"x", {1, 2, {3e30f, 4e30f}}}}), 5e30, 1e24) << "squares overflow float32";
}

TEST(CheckUpdate, AcceptsWhatMakeUpdateMakes) {
  for (const UpdateForm mode : kModes) {
    EXPECT_TRUE(CheckUpdate(*MakeUpdate(SampleAdapter(), Trained(), mode), SampleAdapter(), mode).ok());
  }
}

TEST(CheckUpdate, RefusesNamingTheTensor) {
  for (const UpdateForm mode : kModes) {
    const TensorMap good = *MakeUpdate(SampleAdapter(), Trained(), mode);
    for (const auto& [name, tensor] : good) {
      const auto refused = [mode, &tensor_name = name](const TensorMap& update, const std::string& why) {
        const absl::Status status = CheckUpdate(update, SampleAdapter(), mode);
        EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << UpdateFormName(mode);
        EXPECT_EQ(Message(status), "tensor '" + tensor_name + "' " + why);
      };
      TensorMap update = good;
      update.erase(name);
      refused(update, "is missing");
      update = good;
      update[name] = Matrix::Zero(tensor.columns, tensor.rows);
      refused(update, "has another shape");
      update[name] = Matrix::Zero(tensor.rows + 1, tensor.columns);
      refused(update, "has another shape");
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        for (const size_t at : {size_t{0}, tensor.values.size() - 1}) {
          update = good;
          update[name].values[at] = bad;
          refused(update, "has a value that is not finite");
        }
      }
    }
    TensorMap update = good;
    update["lm_head.lora_B"] = Matrix::Zero(1, 1);
    const absl::Status status = CheckUpdate(update, SampleAdapter(), mode);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
    EXPECT_EQ(Message(status), "tensor 'lm_head.lora_B' is not expected");
  }
}

// Whoever freezes A must not send one: it would be a way to move what the others hold still.
TEST(CheckUpdate, RefusesAFactorThatTheModeDoesNotTrain) {
  const TensorMap both = *MakeUpdate(SampleAdapter(), Trained(), UpdateForm::kChangeOfFactors);
  for (const UpdateForm mode : {UpdateForm::kChangeOfB, UpdateForm::kGradientOfB}) {
    const absl::Status status = CheckUpdate(both, SampleAdapter(), mode);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
    EXPECT_NE(Message(status).find(".lora_A' is not expected"), std::string::npos) << Message(status);
  }
}

TEST(TensorBytes, ComeBackAndAreTheSameForTheSameTensors) {
  const TensorMap update = *MakeUpdate(SampleAdapter(), Trained(), UpdateForm::kChangeOfFactors);
  const std::string bytes = SerializeTensors(update);
  EXPECT_EQ(SerializeTensors(update), bytes);
  const absl::StatusOr<TensorMap> parsed = ParseTensors(bytes);
  ASSERT_TRUE(parsed.ok()) << Message(parsed.status());
  EXPECT_EQ(*parsed, update);
  EXPECT_EQ(ExitCodeOf(ParseTensors(bytes.substr(1)).status()), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(ParseTensors("").status()), ExitCode::kBadInputFile);
}

}  // namespace
}  // namespace fedglm
