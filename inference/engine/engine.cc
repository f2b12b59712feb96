#include "inference/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>

#include "base/clock.h"
#include "base/thread_annotations.h"
#include "inference/cache/kv_cache.h"
#include "inference/engine/text_stream.h"
#include "inference/memory/memory_budget.h"
#include "inference/model/transformer.h"

namespace fedglm {
namespace {

constexpr int64_t kDefaultContext = 8192;
constexpr int64_t kBatchTokens = 256;  // of a prompt at once: bounds the activations

// Turns in the order of arrival.
class TurnQueue {
 public:
  void Enter() {
    MutexLock lock(mutex_);
    const uint64_t ticket = next_++;
    while (ticket != serving_) lock.Wait(turn_);
  }
  void Leave() {
    MutexLock lock(mutex_);
    ++serving_;
    turn_.notify_all();
  }

 private:
  Mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
};

class Turn {
 public:
  explicit Turn(TurnQueue& queue) : queue_(queue) { queue_.Enter(); }
  ~Turn() { queue_.Leave(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  TurnQueue& queue_;
};

// For a model without a vocabulary (llama.cpp's "no_vocab").
class NoTokenizer : public Tokenizer {
 public:
  std::vector<Token> Encode(std::string_view, const EncodeOptions&) const override { return {}; }
  std::string Piece(Token, bool) const override { return ""; }
  int64_t size() const override { return 0; }
  bool IsControl(Token) const override { return false; }
  std::optional<Token> Find(std::string_view) const override { return std::nullopt; }
};

absl::StatusOr<std::shared_ptr<const Tokenizer>> OpenTokenizer(const GgufFile& file, bool required) {
  const std::string family = file.StringOr("tokenizer.ggml.model", "no_vocab");
  if (family != "no_vocab" && family != "none") return Tokenizer::FromGguf(file);
  if (required) return BadFileError(file.path().string() + ": the model has no vocabulary");
  return std::make_shared<const NoTokenizer>();
}

}  // namespace

struct Engine::State {
  explicit State(const EngineOptions& options)
      : stop_requested(options.stop_requested), pool(options.threads), budget(options.memory_budget) {}

  std::shared_ptr<const GgufFile> file;
  std::unique_ptr<Transformer> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;
  std::vector<LinearModule> modules;
  int64_t context = 0;
  std::function<bool()> stop_requested;
  ThreadPool pool;
  MemoryBudget budget;

  Mutex adapter_mutex;
  std::shared_ptr<const BoundAdapter> adapter ABSL_GUARDED_BY(adapter_mutex);

  // What follows belongs to whoever has the turn.
  TurnQueue turns;
  std::unique_ptr<KvCache> cache;
  std::vector<Token> cached;                          // the tokens in the cache
  std::shared_ptr<const BoundAdapter> cached_adapter;  // which they were computed with
  bool mixed = false;                                 // the adapter changed while they were

  std::shared_ptr<const BoundAdapter> CurrentAdapter() {
    MutexLock lock(adapter_mutex);
    return adapter;
  }

  absl::Status CheckTokens(const std::vector<Token>& tokens) const {
    if (tokens.empty()) return UsageError("the prompt is empty");
    const int64_t vocabulary = model->hyperparameters().vocabulary;
    for (const Token token : tokens) {
      if (token < 0 || token >= vocabulary) {
        return UsageError("token " + std::to_string(token) + " is not in the vocabulary of " + std::to_string(vocabulary));
      }
    }
    if (static_cast<int64_t>(tokens.size()) > context) {
      return UsageError(std::to_string(tokens.size()) + " tokens do not fit the context of " + std::to_string(context));
    }
    return absl::OkStatus();
  }

  // Keeps what the cache shares with `tokens` and forgets the rest; at least the last token is left to compute.
  int64_t ReusePrefix(const std::vector<Token>& tokens) {
    std::shared_ptr<const BoundAdapter> now = CurrentAdapter();
    size_t shared = 0;
    if (cached_adapter == now && !mixed) {
      while (shared < cached.size() && shared + 1 < tokens.size() && cached[shared] == tokens[shared]) ++shared;
    }
    cached_adapter = std::move(now);
    mixed = false;
    cached.resize(shared);
    cache->Truncate(static_cast<int64_t>(shared));
    return static_cast<int64_t>(shared);
  }

  void Forget() {
    cached.clear();
    cache->Truncate(0);
    cached_adapter = CurrentAdapter();
    mixed = false;
  }

  // Computes `tokens` after what is cached. hidden: [tokens][hidden]. On error the cache is as it was.
  absl::Status Advance(std::span<const Token> tokens, std::vector<float>& hidden) {
    const size_t width = static_cast<size_t>(model->hyperparameters().hidden);
    FEDGLM_RETURN_IF_ERROR(cache->Extend(static_cast<int64_t>(tokens.size())));
    hidden.resize(tokens.size() * width);
    const std::shared_ptr<const BoundAdapter> now = CurrentAdapter();
    // The cache of a sequence that saw two adapters is no prefix for another.
    if (now != cached_adapter) mixed = true;
    model->Forward(tokens, *cache, now.get(), hidden.data(), pool);
    cached.insert(cached.end(), tokens.begin(), tokens.end());
    return absl::OkStatus();
  }
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const std::filesystem::path& model, const EngineOptions& options) {
  auto state = std::make_unique<State>(options);
  FEDGLM_ASSIGN_OR_RETURN(state->file, GgufFile::Open(model));
  FEDGLM_ASSIGN_OR_RETURN(state->model, Transformer::Make(state->file));
  FEDGLM_ASSIGN_OR_RETURN(state->tokenizer, OpenTokenizer(*state->file, options.require_tokenizer));
  state->chat_template = DetectChatTemplate(*state->file, *state->tokenizer);
  const Hyperparameters& h = state->model->hyperparameters();
  state->modules = LinearModules(h);
  state->context = options.context > 0 ? options.context : std::min(h.context_length, kDefaultContext);
  state->cache = std::make_unique<KvCache>(KvShape{h.layers, h.kv_width(), state->context}, state->budget);
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

const GgufFile& Engine::file() const { return *state_->file; }
const Hyperparameters& Engine::hyperparameters() const { return state_->model->hyperparameters(); }
const Tokenizer& Engine::tokenizer() const { return *state_->tokenizer; }
const ChatTemplate& Engine::chat_template() const { return state_->chat_template; }
int64_t Engine::context() const { return state_->context; }

absl::Status Engine::SetAdapter(std::shared_ptr<const Adapter> adapter) {
  std::shared_ptr<const BoundAdapter> bound;
  if (adapter != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(bound, BoundAdapter::Bind(*adapter, state_->modules));
  }
  MutexLock lock(state_->adapter_mutex);
  state_->adapter = std::move(bound);
  return absl::OkStatus();
}

absl::StatusOr<GenerationResult> Engine::Generate(const GenerationRequest& request, const TokenCallback& on_token) {
  State& s = *state_;
  FEDGLM_RETURN_IF_ERROR(s.CheckTokens(request.prompt));
  const Turn turn(s.turns);

  GenerationResult result;
  result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  const int64_t width = s.model->hyperparameters().hidden, vocabulary = s.model->hyperparameters().vocabulary;
  std::vector<float> hidden, logits(static_cast<size_t>(vocabulary));
  Sampler sampler(request.sampling);
  for (const Token token : request.prompt) sampler.Accept(token);

  const Stopwatch prefill;
  size_t done = static_cast<size_t>(s.ReusePrefix(request.prompt));
  const std::span<const Token> prompt(request.prompt);
  while (done < prompt.size()) {
    const size_t count = std::min<size_t>(kBatchTokens, prompt.size() - done);
    FEDGLM_RETURN_IF_ERROR(s.Advance(prompt.subspan(done, count), hidden));
    done += count;
    // An empty piece asks whether anybody is still listening.
    if (done < prompt.size() && on_token && !on_token("", request.prompt[done])) {
      result.reason = FinishReason::kCancelled;
      return result;
    }
  }
  const auto last_logits = [&] {
    s.model->Logits(hidden.data() + hidden.size() - static_cast<size_t>(width), 1, logits.data(), s.pool);
  };
  last_logits();
  result.prefill_seconds = prefill.Seconds();

  const Stopwatch decode;
  TextStream stream(request.stop);
  result.reason = FinishReason::kLength;
  const auto show = [&](const std::string& text, Token token) {
    result.text += text;
    return text.empty() || !on_token || on_token(text, token);
  };
  while (static_cast<int64_t>(result.tokens.size()) < request.max_tokens) {
    const Token token = sampler.Sample(logits);
    if (!request.ignore_end && s.tokenizer->EndsGeneration(token)) {
      result.reason = FinishReason::kStop;
      break;
    }
    sampler.Accept(token);
    result.tokens.push_back(token);
    if (!show(stream.Push(s.tokenizer->Piece(token)), token)) {
      result.reason = FinishReason::kCancelled;
      break;
    }
    if (stream.stopped()) {
      result.reason = FinishReason::kStop;
      break;
    }
    if (static_cast<int64_t>(result.tokens.size()) == request.max_tokens || s.cache->length() == s.context) break;
    FEDGLM_RETURN_IF_ERROR(s.Advance({&token, 1}, hidden));
    last_logits();
  }
  if (result.reason != FinishReason::kCancelled && !stream.stopped()) {
    show(stream.Flush(), result.tokens.empty() ? 0 : result.tokens.back());
  }
  result.decode_seconds = decode.Seconds();
  return result;
}

absl::Status Engine::Logits(const std::vector<Token>& tokens,
                            const std::function<absl::Status(const float* rows, int64_t count)>& sink) {
  State& s = *state_;
  FEDGLM_RETURN_IF_ERROR(s.CheckTokens(tokens));
  const Turn turn(s.turns);
  s.Forget();
  std::vector<float> hidden, logits;
  const int64_t width = s.model->hyperparameters().hidden, vocabulary = s.model->hyperparameters().vocabulary;
  constexpr int64_t kRows = 32;  // of logits at once: a large vocabulary takes 0.6 MB a row
  for (size_t done = 0; done < tokens.size(); done += kBatchTokens) {
    if (s.stop_requested && s.stop_requested()) return CancelledError("stopped");
    const size_t count = std::min<size_t>(kBatchTokens, tokens.size() - done);
    FEDGLM_RETURN_IF_ERROR(s.Advance(std::span(tokens).subspan(done, count), hidden));
    for (int64_t row = 0; row < static_cast<int64_t>(count); row += kRows) {
      const int64_t rows = std::min(kRows, static_cast<int64_t>(count) - row);
      logits.resize(static_cast<size_t>(rows * vocabulary));
      s.model->Logits(hidden.data() + row * width, rows, logits.data(), s.pool);
      FEDGLM_RETURN_IF_ERROR(sink(logits.data(), rows));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Engine::Loss> Engine::SequenceLoss(const std::vector<Token>& tokens, const std::vector<bool>& counted) {
  if (counted.size() != tokens.size()) return UsageError("a mask of another length than the sequence");
  const int64_t vocabulary = hyperparameters().vocabulary;
  Loss loss;
  size_t position = 0;
  FEDGLM_RETURN_IF_ERROR(Logits(tokens, [&](const float* rows, int64_t count) {
    for (int64_t r = 0; r < count; ++r, ++position) {
      if (position + 1 >= tokens.size() || !counted[position + 1]) continue;
      const float* const row = rows + r * vocabulary;
      const float highest = *std::max_element(row, row + vocabulary);
      double sum = 0;
      for (int64_t v = 0; v < vocabulary; ++v) sum += std::exp(static_cast<double>(row[v] - highest));
      loss.sum += std::log(sum) + highest - row[tokens[position + 1]];
      ++loss.tokens;
    }
    return absl::OkStatus();
  }));
  return loss;
}

}  // namespace fedglm
