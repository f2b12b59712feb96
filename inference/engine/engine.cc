#include "inference/engine/engine.h"

#include <algorithm>
#include <span>
#include <system_error>
#include <utility>

#include "base/memory.h"
#include "base/thread_annotations.h"
#include "inference/autotune/autotune.h"
#include "inference/engine/engine_core.h"
#include "inference/engine/engine_memory.h"
#include "inference/engine/logprobs.h"
#include "inference/engine/position_logits.h"
#include "inference/engine/scheduler.h"
#include "inference/engine/sequence.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/memory/memory_monitor.h"
#include "inference/memory/model_memory.h"

namespace fedglm {
namespace {

constexpr int64_t kMostLogprobs = 20;
constexpr int64_t kIdleSamples = 5;  // of the memory monitor: seconds
constexpr const char* kUnwanted = "nobody waits for the embeddings any more";

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

// What the options say, else what this machine does best.
Tuning TuningFor(const EngineOptions& options, const GgufFile& file, const Hyperparameters& hyperparameters) {
  if (options.threads == 0 && !options.tuning_folder.empty()) {
    return Autotune(file, hyperparameters, options.tuning_folder);
  }
  const int threads = options.threads > 0 ? options.threads : UsablePhysicalCores();
  return {threads, threads, std::max<int64_t>(1, options.prefill_chunk)};
}

}  // namespace

struct Engine::State {
  State(const EngineOptions& engine_options, const Tuning& tuning, std::unique_ptr<Transformer> model)
      : options(engine_options), core(std::move(model), tuning, options.pin_threads, options.memory_budget) {}

  const EngineOptions options;
  std::shared_ptr<const GgufFile> file;
  ChatTemplate chat_template;
  std::vector<LinearModule> modules;
  EngineCore core;
  // Adapters are put in one at a time: each counts with what the others left.
  Mutex installing ABSL_ACQUIRED_BEFORE(core.turns);
  ModelMemory* memory = nullptr;             // core.residency; nullptr: weights are not planned
  std::unique_ptr<Scheduler> scheduler;      // its thread uses what is above
  int64_t steps_seen = 0, idle_samples = 0;  // the monitor's thread's own
  std::unique_ptr<MemoryMonitor> monitor;    // the last: its thread uses what is above

  // Puts weights where the budget allows, and watches what other programs leave.
  absl::Status PlanWeights() {
    const Turn turn(core.turns);
    FEDGLM_ASSIGN_OR_RETURN(
        std::unique_ptr<ModelMemory> made,
        ModelMemory::Open(file, core.hyperparameters(),
                          PlanOptionsFor(core.hyperparameters(), options, core.pool.threads()), core.budget));
    memory = made.get();
    core.residency = std::move(made);
    return absl::OkStatus();
  }

  void Watch() {
    monitor = std::make_unique<MemoryMonitor>(MonitorOptions{}, [this](int level, int pressure) {
      scheduler->SetPressure(level);
      memory->GiveWay(level, pressure);
      ReturnMemoryWhenIdle(level);
    });
    monitor->Start();
  }

  // Requests leave holes in the heap, some MiB after an hour with many. While there is work they are filled again, and
  // while memory is short the next request should not have to wait for fresh pages.
  void ReturnMemoryWhenIdle(int level) {
    const EngineStatistics now = scheduler->Statistics();
    const bool idle = level == 0 && now.running == 0 && now.waiting == 0 && now.steps == steps_seen;
    steps_seen = now.steps;
    idle_samples = idle ? idle_samples + 1 : 0;
    if (idle && idle_samples % kIdleSamples == 0) ReturnFreedMemory();
  }

  absl::Status CheckRequest(const GenerationRequest& request) const {
    if (request.logprobs > kMostLogprobs) return UsageError("at most " + std::to_string(kMostLogprobs) + " logprobs");
    if (!(request.timeout_seconds >= 0)) return UsageError("timeout_seconds is below 0 or not a number");
    return CheckSampling(request.sampling, core.hyperparameters().vocabulary);
  }

  absl::Status CheckTokens(const std::vector<Token>& tokens) const {
    if (tokens.empty()) return UsageError("the prompt is empty");
    const int64_t vocabulary = core.hyperparameters().vocabulary;
    for (const Token token : tokens) {
      if (token < 0 || token >= vocabulary) {
        return UsageError("token " + std::to_string(token) + " is not in the vocabulary of " +
                          std::to_string(vocabulary));
      }
    }
    if (static_cast<int64_t>(tokens.size()) > core.context) {
      return UsageError(std::to_string(tokens.size()) + " tokens do not fit the context of " +
                        std::to_string(core.context));
    }
    return absl::OkStatus();
  }

  // Makes `adapter` the table's of that name (AdapterTable::kDefault: the one in force); nullptr: none.
  absl::Status Install(std::string_view name, const std::shared_ptr<const Adapter>& adapter) {
    MutexLock lock(installing);
    absl::Status status = BindInto(name, adapter);
    // Not more than now: this cannot fail.
    (void)core.adapter_memory.SetAside(core.adapters.Room());
    return status;
  }

  absl::Status BindInto(std::string_view name, const std::shared_ptr<const Adapter>& adapter)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(installing) {
    std::shared_ptr<const BoundAdapter> bound;
    if (adapter != nullptr) {
      const uint64_t bytes = BoundAdapter::Bytes(*adapter);
      FEDGLM_RETURN_IF_ERROR(MakeRoomForAdapter(bytes, core.adapters.RoomWith(name, bytes)));
      FEDGLM_ASSIGN_OR_RETURN(bound, BoundAdapter::Bind(*adapter, modules, core.adapter_memory));
    }
    core.adapters.Set(name, std::move(bound));
    return absl::OkStatus();
  }

  // For one of `bytes`, and for `room` of all when it has replaced another. The other goes when the last answer that is
  // computed with it has ended. First layers go that the plan no longer pins beside so large adapters, then idle pages,
  // then, where answers hold more pages than planned, further layers.
  absl::Status MakeRoomForAdapter(uint64_t bytes, uint64_t room) ABSL_EXCLUSIVE_LOCKS_REQUIRED(installing) {
    AdapterMemory& adapters = core.adapter_memory;
    const auto wanted = [&] { return std::max(room, adapters.taken() + bytes); };
    if (const uint64_t now = wanted(); now <= adapters.charged()) return adapters.SetAside(now);
    const Turn turn(core.turns);
    const uint64_t now = wanted();  // without what the step that was computed till now held
    const uint64_t charged = adapters.charged();
    if (now <= charged) return adapters.SetAside(now);
    if (memory != nullptr) FEDGLM_RETURN_IF_ERROR(memory->PlanForAdapters(now));
    absl::Status status = core.SetAsideForAdapters(now);
    if (status.ok() || memory == nullptr || !memory->UnpinFor(now - charged)) return status;
    return adapters.SetAside(now);
  }

  // nullopt: the one in force.
  absl::StatusOr<std::optional<InstalledAdapter>> FindAdapter(const std::string& name) {
    if (name.empty()) return std::nullopt;
    if (name == kBaseAdapter) return InstalledAdapter();
    return core.adapters.Find(name);
  }

  std::shared_ptr<AnswerChannel> MakeChannel(size_t answers) {
    return std::make_shared<AnswerChannel>(answers, [this] { scheduler->Wake(); });
  }

  absl::StatusOr<std::shared_ptr<Sequence>> MakeSequence(GenerationRequest request, SequencePurpose purpose,
                                                         std::optional<InstalledAdapter> adapter, AnswerPlace place) {
    FEDGLM_RETURN_IF_ERROR(CheckTokens(request.prompt));
    return std::make_shared<Sequence>(std::move(request), purpose, std::move(adapter), core.SharedPages(),
                                      std::move(place));
  }
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const std::filesystem::path& model,
                                                     const EngineOptions& options) try {
  FEDGLM_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, GgufFile::Open(model));
  // Norms lie between matrices: decoding them must not bring in what may not stay. The planner says what may.
  if (options.plan_weights) AdviseRandomAccess(file->bytes());
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Transformer> transformer, Transformer::Make(file));
  transformer->SetObserver(options.observer);
  const Tuning tuning = TuningFor(options, *file, transformer->hyperparameters());
  EngineOptions tuned = options;
  tuned.prefill_chunk = tuning.prefill_chunk;
  auto state = std::make_unique<State>(tuned, tuning, std::move(transformer));
  state->file = std::move(file);
  EngineCore& core = state->core;
  FEDGLM_ASSIGN_OR_RETURN(core.tokenizer, OpenTokenizer(*state->file, options.require_tokenizer));
  state->chat_template = DetectChatTemplate(*state->file, *core.tokenizer);
  state->modules = LinearModules(core.hyperparameters());
  core.context = ContextOf(core.hyperparameters(), options);
  if (options.plan_weights) FEDGLM_RETURN_IF_ERROR(state->PlanWeights());
  SchedulerOptions scheduler;
  scheduler.max_running = std::max<int64_t>(1, options.max_running);
  scheduler.max_waiting = std::max<int64_t>(0, options.max_waiting);
  scheduler.prefill_chunk = tuned.prefill_chunk;
  scheduler.mixed_chunk = tuned.mixed_chunk;
  scheduler.format = options.quantized_cache ? KvFormat::kQ8_0 : KvFormat::kFloat16;
  state->scheduler = std::make_unique<Scheduler>(core, scheduler);
  if (options.plan_weights) state->Watch();
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
} catch (const std::system_error& error) {
  return FailedError("cannot start a thread: " + std::string(error.code().message()) +
                     " (ulimit -u, or the limit of a container)");
}

const GgufFile& Engine::file() const { return *state_->file; }
const Hyperparameters& Engine::hyperparameters() const { return state_->core.hyperparameters(); }
const Tokenizer& Engine::tokenizer() const { return *state_->core.tokenizer; }
const ChatTemplate& Engine::chat_template() const { return state_->chat_template; }
int64_t Engine::context() const { return state_->core.context; }

absl::Status Engine::SetAdapter(std::shared_ptr<const Adapter> adapter) {
  return state_->Install(AdapterTable::kDefault, adapter);
}

absl::Status Engine::CheckAdapter(const Adapter& adapter) const {
  return ToGgufOrder(adapter, state_->modules).status();
}

absl::Status Engine::AddAdapter(std::string name, std::shared_ptr<const Adapter> adapter) {
  if (name.empty() || name == kBaseAdapter) return UsageError("an adapter cannot be named '" + name + "'");
  return state_->Install(name, adapter);
}

std::vector<std::string> Engine::AdapterNames() const { return state_->core.adapters.Names(); }

absl::StatusOr<std::vector<PendingAnswer>> Engine::Take(std::vector<GenerationRequest> requests) {
  const std::shared_ptr<AnswerChannel> channel = state_->MakeChannel(requests.size());
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (GenerationRequest& request : requests) {
    const AnswerPlace place = {channel, sequences.size()};
    FEDGLM_RETURN_IF_ERROR(state_->CheckRequest(request));
    FEDGLM_ASSIGN_OR_RETURN(std::optional<InstalledAdapter> adapter, state_->FindAdapter(request.adapter));
    FEDGLM_ASSIGN_OR_RETURN(sequences.emplace_back(), state_->MakeSequence(std::move(request), SequencePurpose::kAnswer,
                                                                           std::move(adapter), place));
  }
  std::vector<PendingAnswer> answers;
  answers.reserve(sequences.size());  // once they are submitted, nothing may fail
  FEDGLM_RETURN_IF_ERROR(state_->scheduler->Submit(sequences));
  for (std::shared_ptr<Sequence>& sequence : sequences) answers.emplace_back(*state_->scheduler, std::move(sequence));
  return answers;
}

absl::StatusOr<GenerationResult> Engine::Generate(const GenerationRequest& request, const TokenCallback& on_token) {
  FEDGLM_ASSIGN_OR_RETURN(std::vector<PendingAnswer> answers, Take({request}));
  return answers.front().Wait(on_token);
}

absl::StatusOr<std::vector<std::vector<float>>> Engine::Embed(const std::vector<std::vector<Token>>& texts,
                                                              const std::string& adapter,
                                                              const std::function<bool()>& still_wanted) {
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<InstalledAdapter> installed, state_->FindAdapter(adapter));
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (const std::vector<Token>& text : texts) {
    GenerationRequest request;
    request.prompt = text;
    FEDGLM_ASSIGN_OR_RETURN(
        sequences.emplace_back(),
        state_->MakeSequence(std::move(request), SequencePurpose::kEmbedding, installed, {state_->MakeChannel(1), 0}));
  }
  const auto no_token = [](AnswerToken&) { return true; };
  const auto wanted = [&] { return !still_wanted || still_wanted(); };
  std::vector<std::vector<float>> embeddings;
  for (const std::shared_ptr<Sequence>& sequence : sequences) {
    if (!wanted()) return CancelledError(kUnwanted);
    FEDGLM_RETURN_IF_ERROR(embeddings.empty()
                               ? state_->scheduler->Submit(std::span(&sequence, 1), std::span(sequences).subspan(1))
                               : state_->scheduler->SubmitNext(sequence));
    std::optional<AnswerEnd> end = PendingAnswer(*state_->scheduler, sequence).AwaitEnd(no_token, wanted);
    if (!end) return CancelledError(kUnwanted);
    FEDGLM_RETURN_IF_ERROR(end->status);
    embeddings.push_back(std::move(end->embedding));
  }
  return embeddings;
}

void Engine::SetMemoryPressure(int level) {
  state_->scheduler->SetPressure(level);
  if (state_->memory != nullptr) state_->memory->GiveWay(level, level);
}

EngineStatistics Engine::Statistics() const {
  EngineStatistics statistics = state_->scheduler->Statistics();
  statistics.memory_budget = state_->core.budget.total();
  if (state_->memory != nullptr) statistics.weights = state_->memory->WeightStatistics();
  if (state_->monitor != nullptr) statistics.pressure = state_->monitor->Statistics();
  return statistics;
}

absl::Status Engine::Logits(const std::vector<Token>& tokens,
                            const std::function<absl::Status(const float* rows, int64_t count)>& sink) {
  FEDGLM_RETURN_IF_ERROR(state_->CheckTokens(tokens));
  return ComputePositionLogits(state_->core, tokens, std::vector<bool>(tokens.size(), true),
                               state_->options.stop_requested,
                               [&](const int64_t*, const float* rows, int64_t count) { return sink(rows, count); });
}

absl::StatusOr<Engine::Loss> Engine::SequenceLoss(const std::vector<Token>& tokens, const std::vector<bool>& counted) {
  if (counted.size() != tokens.size()) return UsageError("a mask of another length than the sequence");
  FEDGLM_RETURN_IF_ERROR(state_->CheckTokens(tokens));
  // The logits of a position say how likely the next token was.
  std::vector<bool> wanted(counted.begin() + 1, counted.end());
  wanted.push_back(false);
  const auto vocabulary = static_cast<size_t>(hyperparameters().vocabulary);
  Loss loss;
  const auto add = [&](const int64_t* positions, const float* rows, int64_t count) {
    for (int64_t r = 0; r < count; ++r) {
      const std::span<const float> row(rows + static_cast<size_t>(r) * vocabulary, vocabulary);
      const Token next = tokens[static_cast<size_t>(positions[r] + 1)];
      loss.sum += LogSumExp(row) - row[static_cast<size_t>(next)];
      ++loss.tokens;
    }
    return absl::OkStatus();
  };
  FEDGLM_RETURN_IF_ERROR(ComputePositionLogits(state_->core, tokens, wanted, state_->options.stop_requested, add));
  return loss;
}

}  // namespace fedglm
