#include "inference/model/transformer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/file.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

class TransformerTest : public testing::TestWithParam<const char*> {
 protected:
  TransformerTest() : folder_(std::move(*TemporaryDirectory::Make())) {
    TinyModel(GetParam()).Write(folder_.path() / "model.gguf");
    model_ = *Transformer::Make(*GgufFile::Open(folder_.path() / "model.gguf"));
    const Hyperparameters& h = model_->hyperparameters();
    pages_ = std::make_unique<PagePool>(KvLayout{h.layers, h.kv_heads, h.head_size}, budget_);
    workspace_ = *Workspace::Make(h, 256, 256, budget_);
  }

  // An adapter of random factors for every layer.
  std::shared_ptr<const BoundAdapter> RandomAdapter(uint64_t seed) {
    const std::vector<LinearModule> modules = LinearModules(model_->hyperparameters());
    std::vector<ModuleShape> shapes;
    for (const LinearModule& module : modules) shapes.push_back({module.peft_name, module.inputs, module.outputs});
    AdapterConfig config;
    config.rank = 3;
    Adapter adapter = MakeSeededAdapter(config, shapes, seed);
    std::mt19937 random(static_cast<uint32_t>(seed));
    std::normal_distribution<float> normal(0, 0.1f);
    for (auto& [name, pair] : adapter.modules) {
      for (float& value : pair.b.values) value = normal(random);
    }
    return *BoundAdapter::Bind(adapter, modules, adapter_memory_);
  }

  SequenceCache NewCache(KvFormat format = KvFormat::kFloat32) { return SequenceCache(*pages_, format); }

  struct Part {
    SequenceCache* cache;
    std::vector<Token> tokens;
    const BoundAdapter* adapter = nullptr;
  };
  // The logits of all rows of one pass.
  std::vector<float> Run(const std::vector<Part>& parts, WeightResidency* residency = nullptr) {
    Batch batch;
    std::vector<int64_t> rows;
    for (const Part& part : parts) {
      EXPECT_TRUE(part.cache->Reserve(static_cast<int64_t>(part.tokens.size())).ok());
      batch.Add(*part.cache, part.adapter, part.tokens);
    }
    for (int64_t row = 0; row < batch.rows(); ++row) rows.push_back(row);
    EXPECT_TRUE(model_->Forward(batch, *workspace_, pool_, residency).ok());
    for (const Part& part : parts) part.cache->Advance(static_cast<int64_t>(part.tokens.size()));
    EXPECT_TRUE(model_->Logits(rows, *workspace_, pool_, residency).ok());
    return {workspace_->logits, workspace_->logits + batch.rows() * TinyModel::kVocabulary};
  }
  std::vector<float> RunAlone(const std::vector<Token>& tokens, const BoundAdapter* adapter = nullptr,
                              KvFormat format = KvFormat::kFloat32) {
    SequenceCache cache = NewCache(format);
    return Run({{&cache, tokens, adapter}});
  }

  TemporaryDirectory folder_;
  MemoryBudget budget_{64 << 20};
  AdapterMemory adapter_memory_{budget_};
  ThreadPool pool_{2};
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<PagePool> pages_;
  std::unique_ptr<Workspace> workspace_;
};

TEST_P(TransformerTest, ABatchOfSequencesIsEachOfThemAlone) {
  const auto first = RandomAdapter(1), second = RandomAdapter(2);
  const std::vector<Token> a = RandomTokens(70, 1), b = RandomTokens(33, 2), c = RandomTokens(5, 3);
  const std::vector<Token> d = RandomTokens(1, 4);
  std::vector<float> expected;
  for (const auto& [tokens, adapter] :
       {std::pair{a, first.get()}, {b, second.get()}, {c, nullptr}, {d, second.get()}}) {
    const std::vector<float> logits = RunAlone(tokens, adapter);
    expected.insert(expected.end(), logits.begin(), logits.end());
  }
  SequenceCache caches[] = {NewCache(), NewCache(), NewCache(), NewCache()};
  const std::vector<float> together = Run(
      {{&caches[0], a, first.get()}, {&caches[1], b, second.get()}, {&caches[2], c}, {&caches[3], d, second.get()}});
  EXPECT_EQ(together, expected);
  EXPECT_GT(NormalisedError(RunAlone(a), RunAlone(a, first.get())), 1e-3) << "the adapter makes no difference";
}

TEST_P(TransformerTest, PromptsInPiecesAndTokenByTokenAreTheWholeText) {
  const std::vector<Token> tokens = RandomTokens(100, 5);
  const std::vector<float> whole = RunAlone(tokens);
  for (const size_t step : {1, 7, 32, 45}) {
    SequenceCache cache = NewCache();
    std::vector<float> pieces;
    for (size_t i = 0; i < tokens.size(); i += step) {
      const size_t count = std::min(step, tokens.size() - i);
      const std::vector<float> logits = Run({{&cache, {tokens.begin() + i, tokens.begin() + i + count}}});
      pieces.insert(pieces.end(), logits.begin(), logits.end());
    }
    EXPECT_EQ(pieces, whole) << step;
  }
}

TEST_P(TransformerTest, SmallerPagesCostLittleAccuracy) {
  const std::vector<Token> tokens = RandomTokens(120, 6);
  const std::vector<float> exact = RunAlone(tokens);
  const double half = NormalisedError(RunAlone(tokens, nullptr, KvFormat::kFloat16), exact);
  const double q8 = NormalisedError(RunAlone(tokens, nullptr, KvFormat::kQ8_0), exact);
  std::printf("  %s: normalised error of float16 pages %.1e, of Q8_0 pages %.1e\n", GetParam(), half, q8);
  EXPECT_GT(half, 0);
  EXPECT_LT(half, 1e-6);
  EXPECT_GT(q8, half);
  EXPECT_LT(q8, 2e-4);
}

// Keeps every layer's weights away from the mapping while they are not acquired, at another address.
class MovedWeights : public WeightResidency {
 public:
  explicit MovedWeights(const GgufFile& file, int64_t layers) : layers_(layers) {
    bytes_.resize(std::filesystem::file_size(file.path()));
    for (const GgufTensor& tensor : file.tensors()) {
      if (base_ == nullptr || tensor.bytes.data() < base_) base_ = tensor.bytes.data();
    }
    for (const GgufTensor& tensor : file.tensors()) {
      std::memcpy(bytes_.data() + (tensor.bytes.data() - base_), tensor.bytes.data(), tensor.bytes.size());
    }
  }
  absl::StatusOr<ptrdiff_t> Acquire(int64_t layer) override {
    EXPECT_EQ(held_, 0);
    if (layer == failing_) return FailedError("the disk is gone");
    ++held_;
    order_.push_back(layer);
    return reinterpret_cast<intptr_t>(bytes_.data()) - reinterpret_cast<intptr_t>(base_);
  }
  void Release(int64_t layer) override {
    EXPECT_EQ(layer, order_.back());
    --held_;
  }
  std::vector<int64_t> order_;
  int held_ = 0;
  int64_t layers_, failing_ = -1;
  const std::byte* base_ = nullptr;
  std::vector<std::byte> bytes_;
};

TEST_P(TransformerTest, WeightsAreReadWhereTheResidencySays) {
  const std::vector<Token> tokens = RandomTokens(9, 7);
  MovedWeights moved(model_->file(), 2);
  SequenceCache cache = NewCache();
  EXPECT_EQ(Run({{&cache, tokens}}, &moved), RunAlone(tokens));
  EXPECT_EQ(moved.order_, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(moved.held_, 0);
  // They are really what is multiplied.
  std::fill(moved.bytes_.begin(), moved.bytes_.end(), std::byte{0});
  SequenceCache zero = NewCache();
  EXPECT_NE(Run({{&zero, tokens}}, &moved), RunAlone(tokens));
}

TEST_P(TransformerTest, WeightsThatCannotBeReadAreAnError) {
  MovedWeights moved(model_->file(), 2);
  moved.failing_ = 1;
  SequenceCache cache = NewCache();
  ASSERT_TRUE(cache.Reserve(3).ok());
  Batch batch;
  batch.Add(cache, nullptr, RandomTokens(3, 8));
  EXPECT_EQ(Message(model_->Forward(batch, *workspace_, pool_, &moved)), "the disk is gone");
  EXPECT_EQ(moved.held_, 0);
}

TEST_P(TransformerTest, TheWorkspaceIsChargedToTheBudget) {
  const Hyperparameters& h = model_->hyperparameters();
  const uint64_t before = budget_.used(MemoryAccount::kActivations);
  EXPECT_GT(before, 0u);
  {
    const auto more = Workspace::Make(h, 10, 2, budget_);
    ASSERT_TRUE(more.ok());
    EXPECT_EQ(budget_.used(MemoryAccount::kActivations) - before, Workspace::Bytes(h, 10, 2));
  }
  EXPECT_EQ(budget_.used(MemoryAccount::kActivations), before);
  EXPECT_EQ(Workspace::Make(h, 1 << 20, 1, budget_).status().code(), absl::StatusCode::kResourceExhausted);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TransformerTest, testing::ValuesIn(ArchitectureNames()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace fedglm
