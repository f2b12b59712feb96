// The longest sequence, against a reference in double: with one layer the last position needs every other's keys and
// values, and nothing else of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "inference/engine/engine.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

using Vector = std::vector<double>;

constexpr int64_t kContext = 32768;
constexpr double kBase = 10000, kEpsilon = 1e-5;
constexpr float kSharper = 6;  // queries: attention that picks some of all positions, not the mean of all

// The last position's log-probabilities in a llama of one layer.
class Reference {
 public:
  explicit Reference(const TinyModel& model) : model_(model) {}

  // Only the last `reach` positions are looked at.
  Vector LogProbabilities(const std::vector<Token>& tokens, size_t reach) const {
    const size_t last = tokens.size() - 1;
    Vector x = Embedding(tokens[last]);
    const Vector input = Normalised(x, "blk.0.attn_norm.weight");
    const Vector query = Rotated(Projected("attn_q", input), last);
    std::vector<Vector> keys, values;
    for (size_t p = tokens.size() - reach; p <= last; ++p) {
      const Vector h = Normalised(Embedding(tokens[p]), "blk.0.attn_norm.weight");
      keys.push_back(Rotated(Projected("attn_k", h), p));
      values.push_back(Projected("attn_v", h));
    }
    Vector heads(TinyModel::kHeads * TinyModel::kHeadSize, 0);
    for (size_t head = 0; head < TinyModel::kHeads; ++head) {
      const size_t q = head * TinyModel::kHeadSize;
      const size_t k = head / (TinyModel::kHeads / TinyModel::kKvHeads) * TinyModel::kHeadSize;
      Vector weights;
      for (const Vector& key : keys) {
        double score = 0;
        for (size_t i = 0; i < TinyModel::kHeadSize; ++i) score += query[q + i] * key[k + i];
        weights.push_back(score / std::sqrt(TinyModel::kHeadSize));
      }
      const double total = LogSum(weights);
      for (size_t p = 0; p < values.size(); ++p) {
        const double weight = std::exp(weights[p] - total);
        for (size_t i = 0; i < TinyModel::kHeadSize; ++i) heads[q + i] += weight * values[p][k + i];
      }
    }
    Add(Projected("attn_output", heads), x);
    const Vector h = Normalised(x, "blk.0.ffn_norm.weight");
    Vector gate = Projected("ffn_gate", h);
    const Vector up = Projected("ffn_up", h);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    Add(Projected("ffn_down", gate), x);
    Vector logits = Product("output.weight", Normalised(x, "output_norm.weight"));
    const double total = LogSum(logits);
    for (double& logit : logits) logit -= total;
    return logits;
  }

 private:
  static double LogSum(const Vector& x) {
    const double most = *std::ranges::max_element(x);
    double sum = 0;
    for (const double value : x) sum += std::exp(value - most);
    return most + std::log(sum);
  }
  static void Add(const Vector& more, Vector& x) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += more[i];
  }
  // Neighbours are a pair, as llama's GGUF has them.
  static Vector Rotated(Vector x, size_t position) {
    for (size_t i = 0; i + 1 < x.size(); i += 2) {
      const auto in_head = static_cast<double>(i % TinyModel::kHeadSize);
      const double angle = static_cast<double>(position) * std::pow(kBase, -in_head / TinyModel::kHeadSize);
      const double a = x[i], b = x[i + 1];
      x[i] = a * std::cos(angle) - b * std::sin(angle);
      x[i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
    return x;
  }
  Vector Embedding(Token token) const {
    const std::vector<float>& values = model_.tensors.at("token_embd.weight").values;
    const auto begin = values.begin() + token * TinyModel::kHidden;
    return Vector(begin, begin + TinyModel::kHidden);
  }
  Vector Normalised(Vector x, const std::string& norm) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + kEpsilon);
    const std::vector<float>& weights = model_.tensors.at(norm).values;
    for (size_t i = 0; i < x.size(); ++i) x[i] *= scale * weights[i];
    return x;
  }
  Vector Projected(const std::string& name, const Vector& x) const {
    Vector y = Product("blk.0." + name + ".weight", x);
    const auto bias = model_.tensors.find("blk.0." + name + ".bias");
    if (bias == model_.tensors.end()) return y;
    for (size_t i = 0; i < y.size(); ++i) y[i] += bias->second.values[i];
    return y;
  }
  Vector Product(const std::string& name, const Vector& x) const {
    const std::vector<float>& weights = model_.tensors.at(name).values;
    Vector y(weights.size() / x.size(), 0);
    for (size_t row = 0; row < y.size(); ++row) {
      for (size_t i = 0; i < x.size(); ++i) y[row] += weights[row * x.size() + i] * x[i];
    }
    return y;
  }

  const TinyModel& model_;
};

TEST(LongContext, TheLastOf32768PositionsIsThatOfTheReference) {
  TinyModel model("llama", 1);
  model.integers["context_length"] = kContext;
  model.numbers["rope.freq_base"] = static_cast<float>(kBase);
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_q.bias"}) {
    for (float& value : model.tensors.at(name).values) value *= kSharper;
  }
  const auto folder = TemporaryDirectory::Make();
  model.Write(folder->path() / "model.gguf");
  GenerationRequest request;
  request.prompt = RandomTokens(kContext - 1, 3);
  request.max_tokens = 10;
  request.logprobs = 20;
  EngineOptions options;
  options.context = kContext;
  options.threads = 2;
  options.require_tokenizer = false;
  const auto engine = *Engine::Open(folder->path() / "model.gguf", options);
  const absl::StatusOr<GenerationResult> result = engine->Generate(request, nullptr);
  ASSERT_TRUE(result.ok()) << Message(result.status());
  ASSERT_EQ(result->tokens.size(), 2u) << "one follows the prompt, one follows that, and the context is full";
  EXPECT_EQ(result->reason, FinishReason::kLength);
  std::vector<Token> all = request.prompt;
  all.push_back(result->tokens.front());
  const Reference reference(model);
  const Vector expected = reference.LogProbabilities(all, kContext),
               near = reference.LogProbabilities(all, kContext / 4);
  double error = 0, distance = 0;
  for (const TokenLogprob& top : result->top.back()) {
    const auto token = static_cast<size_t>(top.token);
    error = std::max(error, std::abs(top.logprob - expected[token]));
    distance = std::max(distance, std::abs(near[token] - expected[token]));
  }
  constexpr double kTolerance = 0.002;  // of keys and values in float16
  EXPECT_LT(error, kTolerance);
  EXPECT_GT(distance, 10 * kTolerance) << "what is far away matters";
}

}  // namespace
}  // namespace fedglm
