// Every backward pass that is written by hand, against plain LibTorch autograd in double precision over the dequantized
// weights, and against finite differences.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <random>

#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/kernels.h"
#include "tests/training/tiny_models.h"
#include "training/autograd/mapped_linear.h"
#include "training/autograd/output_loss.h"
#include "training/base_model.h"
#include "training/model/adapted_base.h"
#include "training/optimization.h"

namespace fedglm {
namespace {

constexpr BlockType kTypes[] = {BlockType::kF32,  BlockType::kF16,    BlockType::kBF16,  BlockType::kQ8_0,
                                BlockType::kQ4_0, BlockType::kQ4_1,   BlockType::kQ5_0,  BlockType::kQ5_1,
                                BlockType::kQ2_K, BlockType::kQ3_K,   BlockType::kQ4_K,  BlockType::kQ5_K,
                                BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS};

// ‖x − truth‖ / ‖truth‖
double RelativeError(const at::Tensor& x, const at::Tensor& truth) {
  return ((x.to(at::kDouble) - truth).norm() / truth.norm()).item<double>();
}

double DotOf(const at::Tensor& x, const at::Tensor& y) {
  return (x.to(at::kDouble) * y.to(at::kDouble)).sum().item<double>();
}

// A matrix in blocks, and the same in double.
struct TestWeight {
  std::vector<std::byte> blocks;
  at::Tensor dense;  // [rows][columns] double
  SharedWeight mapped;

  TestWeight(BlockType type, int64_t rows, int64_t columns, ThreadPool& pool) {
    const int64_t row_bytes = RowBytes(type, columns);
    blocks.resize(static_cast<size_t>(row_bytes * rows));
    const at::Tensor values = at::randn({rows, columns});
    for (int64_t r = 0; r < rows; ++r) {
      EXPECT_TRUE(EncodeRow(type, values.data_ptr<float>() + r * columns, blocks.data() + r * row_bytes, columns).ok());
    }
    at::Tensor decoded = at::empty({rows, columns}, at::kFloat);
    for (int64_t r = 0; r < rows; ++r) {
      DecodeRow(type, blocks.data() + r * row_bytes, decoded.data_ptr<float>() + r * columns, columns);
    }
    dense = decoded.to(at::kDouble);
    mapped = c10::make_intrusive<MappedWeight>(WeightMatrix{type, blocks.data(), rows, columns}, pool, nullptr);
  }
};

class MappedLinearGradients : public testing::TestWithParam<BlockType> {};

TEST_P(MappedLinearGradients, AreThoseOfTheDenseLayerForAnyShape) {
  torch::manual_seed(static_cast<int64_t>(GetParam()));
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  const auto between = [&](int64_t lowest, int64_t highest) {
    return std::uniform_int_distribution<int64_t>(lowest, highest)(random);
  };
  const int64_t block = FactsOf(GetParam()).weights_per_block;
  for (int round = 0; round < 12; ++round) {
    ThreadPool pool(round % 3 + 1);
    const int64_t tokens = between(1, 20), rows = between(1, 90),
                  columns = block * between(1, block == 1 ? 300 : 600 / block + 1);
    SCOPED_TRACE(std::to_string(tokens) + " tokens, " + std::to_string(rows) + " x " + std::to_string(columns));
    const TestWeight weight(GetParam(), rows, columns, pool);
    // Every second time x and dy do not lie in memory as the kernels want them.
    const auto noise = [&](int64_t n, int64_t width) {
      return round % 2 ? at::randn({width, n}).t() : at::randn({n, width});
    };
    const at::Tensor x = noise(tokens, columns).requires_grad_(true), dy = noise(tokens, rows);
    const at::Tensor y = MappedLinear(x, weight.mapped);
    y.backward(dy);

    const at::Tensor x_double = x.detach().to(at::kDouble).requires_grad_(true);
    const at::Tensor y_double = at::matmul(x_double, weight.dense.t());
    y_double.backward(dy.to(at::kDouble));
    EXPECT_LT(RelativeError(y.detach(), y_double.detach()), 1e-5);
    EXPECT_LT(RelativeError(x.grad(), x_double.grad()), 1e-5);

    // The layer is linear, so that a large step is exact and rounding is small against it.
    const torch::NoGradGuard no_gradients;
    const at::Tensor direction = at::randn({tokens, columns});
    const auto projected = [&](const at::Tensor& at) { return DotOf(MappedLinear(at, weight.mapped), dy); };
    const double numeric = (projected(x + direction) - projected(x - direction)) / 2;
    EXPECT_NEAR(DotOf(x.grad(), direction), numeric, 1e-4 * (x.grad().norm() * direction.norm()).item<double>());
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MappedLinearGradients, testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(FactsOf(info.param).name); });

TEST(MappedLinear, GivesNoGradientThatNobodyAskedFor) {
  ThreadPool pool(1);
  const TestWeight weight(BlockType::kQ8_0, 8, 32, pool);
  EXPECT_FALSE(MappedLinear(at::randn({2, 32}), weight.mapped).requires_grad());
  const torch::NoGradGuard no_gradients;
  EXPECT_FALSE(MappedLinear(at::randn({2, 32}).requires_grad_(true), weight.mapped).requires_grad());
}

// A weight lives as long as a graph needs it, though nobody else holds it, and no longer.
TEST(MappedLinear, TheGraphKeepsTheWeightUntilTheBackwardPassIsDone) {
  ThreadPool pool(1);
  TestWeight weight(BlockType::kF32, 8, 32, pool);
  auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(weight.blocks));
  const std::weak_ptr<const void> held = bytes;
  const WeightMatrix matrix = {BlockType::kF32, bytes->data(), 8, 32};
  SharedWeight mapped = c10::make_intrusive<MappedWeight>(matrix, pool, std::move(bytes));
  const at::Tensor x = at::randn({2, 32}).requires_grad_(true);
  at::Tensor y = MappedLinear(x, mapped);
  mapped.reset();
  EXPECT_FALSE(held.expired());
  y.sum().backward();
  y.reset();
  EXPECT_TRUE(held.expired());
  EXPECT_LT(RelativeError(x.grad(), at::matmul(at::ones({2, 8}, at::kDouble), weight.dense)), 1e-5);
}

TEST(MappedLinear, GradientsOfTwoUsesAddUp) {
  ThreadPool pool(2);
  const TestWeight weight(BlockType::kQ4_0, 24, 64, pool);
  const at::Tensor x = at::randn({5, 64}).requires_grad_(true);
  (MappedLinear(x, weight.mapped) * 2 + MappedLinear(at::silu(x), weight.mapped)).sum().backward();
  const at::Tensor x_double = x.detach().to(at::kDouble).requires_grad_(true);
  (at::matmul(x_double, weight.dense.t()) * 2 + at::matmul(at::silu(x_double), weight.dense.t())).sum().backward();
  EXPECT_LT(RelativeError(x.grad(), x_double.grad()), 1e-5);
}

struct OutputShape {
  BlockType type;
  int64_t vocabulary, columns, targets;
};
class OutputLossGradients : public testing::TestWithParam<OutputShape> {};

TEST_P(OutputLossGradients, AreThoseOfSoftmaxAndCrossEntropy) {
  const auto& [type, vocabulary, columns, count] = GetParam();
  torch::manual_seed(vocabulary);
  ThreadPool pool(2);
  const TestWeight weight(type, vocabulary, columns, pool);
  std::vector<Token> targets;
  for (int64_t i = 0; i < count; ++i) targets.push_back(static_cast<Token>((i * 7919 + vocabulary - 1) % vocabulary));
  const at::Tensor ids = torch::tensor(std::vector<int64_t>(targets.begin(), targets.end()), at::kLong);

  const at::Tensor hidden = at::randn({count, columns}).requires_grad_(true);
  const at::Tensor loss = OutputLoss(hidden, weight.mapped, targets);
  (loss * 0.25).backward();  // what comes from behind must reach the gradient

  const at::Tensor hidden_double = hidden.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor logits = at::matmul(hidden_double, weight.dense.t());
  const at::Tensor expected = -at::log_softmax(logits, 1).gather(1, ids.view({count, 1})).sum();
  (expected * 0.25).backward();
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-5 * expected.item<double>());
  EXPECT_LT(RelativeError(hidden.grad(), hidden_double.grad()), 2e-5);

  const torch::NoGradGuard no_gradients;
  const double norm = hidden.grad().norm().item<double>(), step = 1e-2;
  const at::Tensor direction = hidden.grad() / norm;
  const double numeric = 0.25 *
                         (OutputLoss(hidden + step * direction, weight.mapped, targets).item<double>() -
                          OutputLoss(hidden - step * direction, weight.mapped, targets).item<double>()) /
                         (2 * step);
  EXPECT_NEAR(numeric, norm, 3e-3 * norm);
}

INSTANTIATE_TEST_SUITE_P(Shapes, OutputLossGradients,
                         testing::Values(OutputShape{BlockType::kF32, 2, 5, 1},
                                         OutputShape{BlockType::kQ8_0, 512, 64, 19},
                                         OutputShape{BlockType::kQ4_0, 700, 96, 33},
                                         OutputShape{BlockType::kQ4_K, 300, 256, 7},
                                         // More logits than are held at once: several chunks, the last one partial.
                                         OutputShape{BlockType::kF16, 70000, 32, 130}));

TEST(OutputLoss, IsFiniteForLogitsThatOverflowExp) {
  ThreadPool pool(1);
  TestWeight weight(BlockType::kF32, 3, 1, pool);
  const float values[] = {1000.0f, -1000.0f, 999.0f};
  std::memcpy(weight.blocks.data(), values, sizeof(values));
  const at::Tensor hidden = at::ones({2, 1}).requires_grad_(true);
  const at::Tensor loss = OutputLoss(hidden, weight.mapped, {1, 0});
  loss.backward();
  const double log_sum = 1000.0 + std::log1p(std::exp(-1.0));
  EXPECT_NEAR(loss.item<double>(), (log_sum + 1000.0) + (log_sum - 1000.0), 1e-3);
  EXPECT_TRUE(at::isfinite(hidden.grad()).all().item<bool>());
}

// The same model in double precision with nothing of ours in its backward pass: dense weights, LibTorch's own
// functions.
class DoubleWeights : public Weights {
 public:
  DoubleWeights(const GgufFile& file, const Adapter& adapter, const std::vector<LinearModule>& modules)
      : scale_(adapter.config.scale()) {
    for (const GgufTensor& tensor : file.tensors()) {
      at::Tensor values = at::empty({tensor.rows(), tensor.columns()}, at::kFloat);
      for (int64_t r = 0; r < tensor.rows(); ++r) {
        DecodeRow(tensor.type, tensor.AsMatrix().Row(r), values.data_ptr<float>() + r * tensor.columns(),
                  tensor.columns());
      }
      tensors_[tensor.name] = (tensor.dimensions == 1 ? values.view({tensor.columns()}) : values).to(at::kDouble);
    }
    const Adapter ordered = *ToGgufOrder(adapter, modules);
    for (const LinearModule& module : modules) {
      const LoraPair& pair = ordered.modules.at(module.peft_name);
      const auto tensor = [](const Matrix& m) {
        return at::from_blob(const_cast<float*>(m.values.data()), {m.rows, m.columns}, at::kFloat)
            .to(at::kDouble)
            .requires_grad_(true);
      };
      factors_[module.gguf_name] = {tensor(pair.a), tensor(pair.b)};
    }
  }

  at::Tensor Embed(const std::vector<Token>& tokens) const override {
    return tensors_.at("token_embd.weight").index_select(0, Ids(tokens));
  }
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const override {
    at::Tensor y = at::matmul(x, tensors_.at(name + ".weight").t());
    if (const at::Tensor bias = Vector(name + ".bias"); bias.defined()) y = y + bias;
    const auto& [a, b] = factors_.at(name + ".weight");
    return y + at::matmul(at::matmul(x, a.t()), b.t()) * scale_;
  }
  at::Tensor Vector(const std::string& name) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? at::Tensor() : found->second;
  }
  at::Tensor Loss(const at::Tensor& hidden, const std::vector<Token>& targets) const override {
    const auto output = tensors_.find("output.weight");
    const at::Tensor weight = output != tensors_.end() ? output->second : tensors_.at("token_embd.weight");
    return -at::log_softmax(at::matmul(hidden, weight.t()), 1).gather(1, Ids(targets).view({-1, 1})).sum();
  }
  std::vector<at::Tensor> Parameters() const override { return {}; }

  const std::pair<at::Tensor, at::Tensor>& Factors(const std::string& gguf_name) const {
    return factors_.at(gguf_name);
  }

 private:
  static at::Tensor Ids(const std::vector<Token>& tokens) {
    return torch::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong);
  }
  const double scale_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, std::pair<at::Tensor, at::Tensor>> factors_;
};

class LoraGradients : public testing::Test {
 protected:
  void Open(const std::filesystem::path& model, const std::optional<Adapter>& adapter) {
    absl::StatusOr<BaseModel> base = BaseModel::Open(model);
    ASSERT_TRUE(base.ok()) << Message(base.status());
    base_ = *std::move(base);
    modules_ = LinearModules(base_.hyperparameters);
    adapter_ = adapter ? *adapter : RandomAdapter(base_.hyperparameters, 3, 5);
    const std::filesystem::path records = folder_.path() / "records.jsonl";
    ASSERT_TRUE(WriteFileAtomically(records, SomeRecords(6)).ok());
    set_ = *base_.Load({records}, 40);
    batches_ = AllBatches(set_, 50);
    ASSERT_GT(batches_.size(), 1u);
  }

  std::unique_ptr<AdaptedBase> Adapted(const Adapter& adapter) {
    return *AdaptedBase::Make(base_.file, base_.hyperparameters, &adapter, UpdateForm::kChangeOfFactors, pool_);
  }
  TransformerLoss Model(const Weights& weights) const {
    return {base_.hyperparameters, RotaryFrequencies(base_.hyperparameters, *base_.file), weights};
  }
  double MeanLoss(const Weights& weights) const {
    const torch::NoGradGuard no_gradients;
    double sum = 0;
    for (const Batch& batch : batches_) sum += Model(weights)(batch).item<double>();
    return sum / static_cast<double>(set_.CountedTokens());
  }
  // The gradients of the double model, in Hugging Face's row order, as AdaptedBase gives its own.
  TensorMap TrueGradients(const DoubleWeights& weights) const {
    AccumulateGradients(Model(weights), batches_);
    Adapter gradients;
    gradients.config = adapter_.config;
    for (const LinearModule& module : modules_) {
      const auto matrix = [](const at::Tensor& factor) {
        const at::Tensor values = factor.grad().to(at::kFloat).contiguous();
        return Matrix{
            values.size(0), values.size(1), {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()}};
      };
      const auto& [a, b] = weights.Factors(module.gguf_name);
      gradients.modules[module.peft_name] = {matrix(a), matrix(b)};
    }
    return TensorsOf(*ToHuggingFaceOrder(gradients, modules_), UpdateForm::kChangeOfFactors);
  }
  // The adapter moved by `step` along the unit vector of `direction` in one factor.
  Adapter Moved(const std::string& name, const Matrix& direction, double norm, double step) const {
    Adapter moved = adapter_;
    LoraPair& pair = moved.modules.at(name.substr(0, name.rfind('.')));
    Matrix& factor = name.ends_with(".lora_A") ? pair.a : pair.b;
    for (size_t i = 0; i < factor.values.size(); ++i) {
      factor.values[i] += static_cast<float>(step / norm * direction.values[i]);
    }
    return moved;
  }

  void CheckEveryFactor() {
    const std::unique_ptr<AdaptedBase> weights = Adapted(adapter_);
    const DoubleWeights exact(*base_.file, adapter_, modules_);
    EXPECT_NEAR(MeanLoss(*weights), MeanLoss(exact), 2e-5 * MeanLoss(exact));
    AccumulateGradients(Model(*weights), batches_);
    const absl::StatusOr<TensorMap> gradients = weights->Gradients();
    ASSERT_TRUE(gradients.ok()) << Message(gradients.status());
    const TensorMap truth = TrueGradients(exact);
    ASSERT_EQ(gradients->size(), 2 * modules_.size());
    double worst = 0, worst_numeric = 0, worst_float = 0;
    for (const auto& [name, expected] : truth) {
      SCOPED_TRACE(name);
      const double norm = NormOf({{name, expected}});
      ASSERT_GT(norm, 1e-4);
      TensorMap difference = {{name, gradients->at(name)}};
      ASSERT_TRUE(AddScaled(-1, {{name, expected}}, difference).ok());
      worst = std::max(worst, NormOf(difference) / norm);
      // Along its gradient a loss rises by the gradient's norm: measured on the double model, where rounding plays no
      // part, and on the mapped one.
      const auto slope = [&, &factor = name, &along = expected](double step, const auto& loss_of) {
        return (loss_of(Moved(factor, along, norm, step)) - loss_of(Moved(factor, along, norm, -step))) / (2 * step);
      };
      const double numeric =
          slope(2e-5, [&](const Adapter& a) { return MeanLoss(DoubleWeights(*base_.file, a, modules_)); });
      const double mapped = slope(std::min(0.05, 5e-3 / norm), [&](const Adapter& a) { return MeanLoss(*Adapted(a)); });
      worst_numeric = std::max(worst_numeric, std::fabs(numeric / norm - 1));
      worst_float = std::max(worst_float, std::fabs(mapped / norm - 1));
    }
    std::printf(
        "  worst of %zu factors: %.1e from autograd in double, %.1e from its finite differences, %.1e from our own\n",
        truth.size(), worst, worst_numeric, worst_float);
    EXPECT_LT(worst, 1e-4);
    EXPECT_LT(worst_numeric, 2e-3);
    EXPECT_LT(worst_float, 2e-2);
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  ThreadPool pool_{2};
  BaseModel base_;
  std::vector<LinearModule> modules_;
  Adapter adapter_;
  ExampleSet set_;
  std::vector<Batch> batches_;
};

TEST_F(LoraGradients, OfTheGoldenGlm4InMixedKQuants) {
  GOLDEN_OR_SKIP(model, kGoldenModel);
  Open(model, *LoadAdapter(GoldenPath(kGoldenLora)));
  CheckEveryFactor();
}

TEST_F(LoraGradients, OfALlamaWithGroupedQueriesAndTiedEmbeddings) {
  const std::filesystem::path model = folder_.path() / "llama.gguf";
  ASSERT_TRUE(WriteTinyModel(model, {.type = BlockType::kQ8_0}, 1).ok());
  Open(model, std::nullopt);
  CheckEveryFactor();
}

// The norm of a head stands between its factors and the loss.
TEST_F(LoraGradients, OfAQwen3WithNormsOfHeads) {
  const std::filesystem::path model = folder_.path() / "qwen3.gguf";
  ASSERT_TRUE(WriteTinyModel(model, {.architecture = "qwen3", .type = BlockType::kF16, .head_size = 32}, 5).ok());
  Open(model, std::nullopt);
  CheckEveryFactor();
}

// Rows of Q and K are in another order in the file than in the adapter.
TEST_F(LoraGradients, OfAGlm4WithRotarySections) {
  const std::filesystem::path model = folder_.path() / "glm4.gguf";
  const TinyShape shape = {.architecture = "glm4", .m_rope = true, .tied_embeddings = false, .type = BlockType::kF16};
  ASSERT_TRUE(WriteTinyModel(model, shape, 2).ok());
  Open(model, std::nullopt);
  CheckEveryFactor();
}

TEST_F(LoraGradients, OfFrozenFactorsAreNotComputed) {
  GOLDEN_OR_SKIP(model, kGoldenModel);
  Open(model, *LoadAdapter(GoldenPath(kGoldenLora)));
  const auto weights = *AdaptedBase::Make(base_.file, base_.hyperparameters, &adapter_, UpdateForm::kChangeOfB, pool_);
  EXPECT_EQ(weights->Parameters().size(), modules_.size());
  AccumulateGradients(Model(*weights), batches_);
  const TensorMap gradients = *weights->Gradients();
  EXPECT_EQ(gradients.size(), modules_.size());
  for (const auto& [name, gradient] : gradients) EXPECT_TRUE(name.ends_with(".lora_B")) << name;
}

}  // namespace
}  // namespace fedglm
