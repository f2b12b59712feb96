// Every backward pass that is written by hand, against plain LibTorch autograd in double precision over the dequantized
// weights, and against finite differences.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <random>

#include "inference/gguf/lora_gguf.h"
#include "tests/training/tiny_models.h"
#include "training/base_model.h"
#include "training/layer/adapted_linear.h"
#include "training/layer/attention.h"
#include "training/layer/output_loss.h"
#include "training/model/adapted_model.h"
#include "training/model/transformer_loss.h"
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

// A matrix in blocks, and the same in double.
struct TestWeight {
  std::vector<std::byte> blocks;
  at::Tensor dense;  // [rows][columns] double
  WeightMatrix mapped;

  TestWeight(BlockType type, int64_t rows, int64_t columns) {
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
    mapped = {type, blocks.data(), rows, columns};
  }
};

const float* Data(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }

class AdaptedLinearGradients : public testing::TestWithParam<BlockType> {};

TEST_P(AdaptedLinearGradients, AreThoseOfTheDenseLayerForAnyShape) {
  torch::manual_seed(static_cast<int64_t>(GetParam()));
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  const auto between = [&](int64_t lowest, int64_t highest) {
    return std::uniform_int_distribution<int64_t>(lowest, highest)(random);
  };
  const int64_t block = FactsOf(GetParam()).weights_per_block;
  for (int round = 0; round < 12; ++round) {
    ThreadPool pool(between(1, 3));
    const int64_t tokens = between(1, 70), outputs = between(1, 90), rank = between(0, 9),
                  inputs = block * between(1, block == 1 ? 300 : 600 / block + 1);
    SCOPED_TRACE(std::to_string(tokens) + " tokens, " + std::to_string(outputs) + " x " + std::to_string(inputs) +
                 ", rank " + std::to_string(rank));
    const TestWeight weight(GetParam(), outputs, inputs);
    const at::Tensor x = at::randn({tokens, inputs}), dy = at::randn({tokens, outputs}), bias = at::randn({outputs}),
                     a = at::randn({rank, inputs}), b = at::randn({outputs, rank});
    at::Tensor y = at::empty({tokens, outputs}), dx = at::ones({tokens, inputs}), da = at::ones_like(a),
               db = at::ones_like(b);
    const bool train_a = round % 4 != 0;
    const AdaptedLinear linear = {weight.mapped,
                                  round % 2 ? Data(bias) : nullptr,
                                  rank,
                                  0.5f,
                                  Data(a),
                                  Data(b),
                                  train_a ? da.data_ptr<float>() : nullptr,
                                  db.data_ptr<float>()};
    LinearPass pass(pool);
    LinearInput input;
    input.Assign(Arithmetic::kExact, Data(x), tokens, inputs, pool);
    pass.Forward(linear, input, y.data_ptr<float>());
    const Into into = round % 3 ? Into::kAdd : Into::kOverwrite;
    pass.Backward(linear, Data(x), Data(dy), tokens, dx.data_ptr<float>(), into);

    const auto exact = [](const at::Tensor& tensor) { return tensor.to(at::kDouble).requires_grad_(true); };
    const at::Tensor x_exact = exact(x), a_exact = exact(a), b_exact = exact(b);
    at::Tensor y_exact =
        at::matmul(x_exact, weight.dense.t()) + 0.5 * at::matmul(at::matmul(x_exact, a_exact.t()), b_exact.t());
    if (round % 2) y_exact = y_exact + bias.to(at::kDouble);
    y_exact.backward(dy.to(at::kDouble));
    EXPECT_LT(RelativeError(y, y_exact.detach()), 1e-5);
    EXPECT_LT(RelativeError(dx - (into == Into::kAdd ? 1.0 : 0.0), x_exact.grad()), 1e-5);
    if (rank == 0) continue;
    EXPECT_LT(RelativeError(db - 1, b_exact.grad()), 1e-5);
    if (train_a) {
      EXPECT_LT(RelativeError(da - 1, a_exact.grad()), 1e-5);
    } else {
      EXPECT_TRUE(at::equal(da, at::ones_like(a)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, AdaptedLinearGradients, testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(FactsOf(info.param).name); });

// The same bits from any number of threads, also where a row fills no whole vectors.
TEST_P(AdaptedLinearGradients, DoNotDependOnTheNumberOfThreads) {
  const int64_t block = FactsOf(GetParam()).weights_per_block, inputs = block == 1 ? 1613 : 1536, outputs = 611;
  const TestWeight weight(GetParam(), outputs, inputs);
  const at::Tensor x = at::randn({83, inputs}), dy = at::randn({83, outputs}), a = at::randn({8, inputs}),
                   b = at::randn({outputs, 8});
  std::vector<std::vector<at::Tensor>> results;
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    std::vector<at::Tensor> result = {at::zeros_like(a), at::zeros_like(b), at::zeros_like(x)};
    const AdaptedLinear linear = {
        weight.mapped, nullptr, 8, 2, Data(a), Data(b), result[0].data_ptr<float>(), result[1].data_ptr<float>()};
    LinearPass(pool).Backward(linear, Data(x), Data(dy), 83, result[2].data_ptr<float>(), Into::kOverwrite);
    results.push_back(result);
  }
  for (size_t i = 0; i < 3; ++i) {
    for (size_t other = 1; other < results.size(); ++other) {
      EXPECT_TRUE(at::equal(results[0][i], results[other][i])) << i << ", " << other;
    }
  }
}

struct AttentionCase {
  AttentionShape shape;
  std::vector<int64_t> segments;
};
class AttentionGradients : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionGradients, AreThoseOfSoftmaxOverWhatATokenMaySee) {
  const auto& [shape, segments] = GetParam();
  torch::manual_seed(segments.back());
  ThreadPool pool(2);
  const int64_t tokens = segments.back(), group = shape.heads / shape.kv_heads;
  const at::Tensor q = at::randn({tokens, shape.heads, shape.head_size}),
                   k = at::randn({tokens, shape.kv_heads, shape.head_size}),
                   v = at::randn({tokens, shape.kv_heads, shape.head_size}), dout = at::randn_like(q);
  at::Tensor out = at::empty_like(q), log_sums = at::empty({tokens, shape.heads}), dq = at::empty_like(q),
             dk = at::empty_like(k), dv = at::empty_like(v);
  Attention attention(shape, pool);
  attention.Forward(segments, Data(q), Data(k), Data(v), out.data_ptr<float>(), log_sums.data_ptr<float>());
  attention.Backward(segments, Data(q), Data(k), Data(v), Data(out), Data(log_sums), Data(dout), dq.data_ptr<float>(),
                     dk.data_ptr<float>(), dv.data_ptr<float>());

  std::vector<at::Tensor> exact;
  for (const at::Tensor& input : {q, k, v}) exact.push_back(input.to(at::kDouble).requires_grad_(true));
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s + 1 < segments.size(); ++s) {
    const int64_t first = segments[s], count = segments[s + 1] - first;
    const auto part = [&](const at::Tensor& x, int64_t repeat) {
      return x.narrow(0, first, count).repeat_interleave(repeat, 1).transpose(0, 1);
    };
    const at::Tensor mask = at::full({count, count}, -1e300, at::kDouble).triu(1);
    const at::Tensor scores = at::matmul(part(exact[0], 1), part(exact[1], group).transpose(1, 2)) /
                              std::sqrt(static_cast<double>(shape.head_size));
    parts.push_back(at::matmul(at::softmax(scores + mask, -1), part(exact[2], group)).transpose(0, 1));
  }
  const at::Tensor expected = at::cat(parts);
  expected.backward(dout.to(at::kDouble));
  EXPECT_LT(RelativeError(out, expected.detach()), 1e-5);
  EXPECT_LT(RelativeError(dq, exact[0].grad()), 2e-5);
  EXPECT_LT(RelativeError(dk, exact[1].grad()), 2e-5);
  EXPECT_LT(RelativeError(dv, exact[2].grad()), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionGradients,
                         testing::Values(AttentionCase{{1, 1, 8}, {0, 2}}, AttentionCase{{2, 1, 5}, {0, 33, 34}},
                                         AttentionCase{{4, 2, 64}, {0, 100}}, AttentionCase{{3, 3, 20}, {0, 7, 71, 72}},
                                         AttentionCase{{8, 1, 16}, {0, 31, 63, 96, 130}}));

struct OutputShape {
  BlockType type;
  int64_t vocabulary, columns, targets;
};
class OutputLossGradients : public testing::TestWithParam<OutputShape> {};

TEST_P(OutputLossGradients, AreThoseOfSoftmaxAndCrossEntropy) {
  const auto& [type, vocabulary, columns, count] = GetParam();
  torch::manual_seed(vocabulary);
  ThreadPool pool(2);
  const TestWeight weight(type, vocabulary, columns);
  std::vector<Token> targets;
  for (int64_t i = 0; i < count; ++i) targets.push_back(static_cast<Token>((i * 7919 + vocabulary - 1) % vocabulary));
  const at::Tensor ids = torch::tensor(std::vector<int64_t>(targets.begin(), targets.end()), at::kLong);

  const at::Tensor hidden = at::randn({count, columns});
  at::Tensor gradient = at::empty_like(hidden);
  OutputLoss output_loss(Arithmetic::kExact, pool);
  const double loss = output_loss(weight.mapped, Data(hidden), targets, 0.25, gradient.data_ptr<float>());

  const at::Tensor hidden_double = hidden.to(at::kDouble).requires_grad_(true);
  const at::Tensor logits = at::matmul(hidden_double, weight.dense.t());
  const at::Tensor expected = -at::log_softmax(logits, 1).gather(1, ids.view({count, 1})).sum();
  (expected * 0.25).backward();
  EXPECT_NEAR(loss, expected.item<double>(), 1e-5 * expected.item<double>());
  EXPECT_LT(RelativeError(gradient, hidden_double.grad()), 2e-5);

  const double norm = gradient.norm().item<double>(), step = 1e-2;
  const auto loss_at = [&](double moved) {
    const at::Tensor at_moved = hidden + moved / norm * gradient;
    return output_loss(weight.mapped, Data(at_moved), targets, 0, nullptr);
  };
  EXPECT_NEAR(0.25 * (loss_at(step) - loss_at(-step)) / (2 * step), norm, 3e-3 * norm);
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
  TestWeight weight(BlockType::kF32, 3, 1);
  const float values[] = {1000.0f, -1000.0f, 999.0f};
  std::memcpy(weight.blocks.data(), values, sizeof(values));
  const std::vector<float> hidden = {1, 1};
  std::vector<float> gradient(2);
  const std::vector<Token> targets = {1, 0};
  const double loss = OutputLoss(Arithmetic::kExact, pool)(weight.mapped, hidden.data(), targets, 1, gradient.data());
  const double log_sum = 1000.0 + std::log1p(std::exp(-1.0));
  EXPECT_NEAR(loss, (log_sum + 1000.0) + (log_sum - 1000.0), 1e-3);
  EXPECT_TRUE(std::isfinite(gradient[0]) && std::isfinite(gradient[1]));
}

TEST(OutputLoss, IsNoNumberIfALogitIsNone) {
  ThreadPool pool(1);
  TestWeight weight(BlockType::kF32, 3, 1);
  const float values[] = {1, 2, std::numeric_limits<float>::quiet_NaN()};
  std::memcpy(weight.blocks.data(), values, sizeof(values));
  const float hidden = 1;
  const Token target = 0;
  EXPECT_TRUE(std::isnan(OutputLoss(Arithmetic::kExact, pool)(weight.mapped, &hidden, {&target, 1}, 1, nullptr)));
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

  std::unique_ptr<AdaptedModel> Adapted(const Adapter& adapter) {
    return *AdaptedModel::Make(base_.file, base_.hyperparameters, &adapter,
                               {UpdateForm::kChangeOfFactors, Arithmetic::kExact}, pool_);
  }
  TransformerLoss Model(const Weights& weights) const {
    return {base_.hyperparameters, RotaryFrequencies(base_.hyperparameters, *base_.file), weights};
  }
  double MeanLoss(TrainedModel&& model) const { return MeanLoss(model); }
  double MeanLoss(TrainedModel& model) const {
    double sum = 0;
    for (const Batch& batch : batches_) sum += model.Loss(batch);
    return sum / static_cast<double>(set_.CountedTokens());
  }
  // The gradients of the double model, in Hugging Face's row order, as AdaptedModel gives its own.
  TensorMap TrueGradients(const DoubleWeights& weights) const {
    TransformerLoss model = Model(weights);
    AccumulateGradients(model, batches_);
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
    const std::unique_ptr<AdaptedModel> model = Adapted(adapter_);
    const DoubleWeights exact(*base_.file, adapter_, modules_);
    EXPECT_NEAR(MeanLoss(*model), MeanLoss(Model(exact)), 2e-5 * MeanLoss(Model(exact)));
    AccumulateGradients(*model, batches_);
    const absl::StatusOr<TensorMap> gradients = model->Gradients();
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
          slope(2e-5, [&](const Adapter& a) { return MeanLoss(Model(DoubleWeights(*base_.file, a, modules_))); });
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
  const auto adapted = *AdaptedModel::Make(base_.file, base_.hyperparameters, &adapter_,
                                           {UpdateForm::kChangeOfB, Arithmetic::kExact}, pool_);
  EXPECT_EQ(adapted->Parameters().size(), modules_.size());
  AccumulateGradients(*adapted, batches_);
  const TensorMap gradients = *adapted->Gradients();
  EXPECT_EQ(gradients.size(), modules_.size());
  for (const auto& [name, gradient] : gradients) EXPECT_TRUE(name.ends_with(".lora_B")) << name;
  // The same as where A is trained, too.
  const auto both = *AdaptedModel::Make(base_.file, base_.hyperparameters, &adapter_,
                                        {UpdateForm::kChangeOfFactors, Arithmetic::kExact}, pool_);
  AccumulateGradients(*both, batches_);
  const TensorMap of_both = *both->Gradients();
  for (const auto& [name, gradient] : gradients) EXPECT_EQ(gradient.values, of_both.at(name).values) << name;
}

}  // namespace
}  // namespace fedglm
