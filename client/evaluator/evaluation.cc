#include "client/evaluator/evaluation.h"

#include <exception>
#include <memory>
#include <new>

#include "base/clock.h"
#include "base/memory.h"
#include "base/process.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/kernels/instruction_sets.h"

namespace fedglm {
namespace {

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const TrainingJob& job) {
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  EngineOptions options;
  options.threads = job.threads;
  options.context = job.plan.sequence_length;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Open(job.model, options));
  if (job.adapter.empty()) return engine;
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, LoadAdapterFor(job.adapter, engine->file(), job.base_sha256));
  FEDGLM_RETURN_IF_ERROR(engine->SetAdapter(std::make_shared<const Adapter>(std::move(adapter))));
  return engine;
}

absl::Status Evaluate(const TrainingJob& job, const EventSink& on_event) {
  if (job.kind != JobKind::kEvaluate) return UsageError("the evaluator does not train");
  const Stopwatch watch;
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, OpenEngine(job));
  FEDGLM_ASSIGN_OR_RETURN(ExampleSet set, LoadExamples(job.records, engine->tokenizer(), engine->chat_template(),
                                                       job.plan.sequence_length));
  KeepPart(set, job.set_aside, /*set_aside=*/true);
  TrainerEvent event;
  event.event = "started";
  event.records = event.examples = static_cast<int64_t>(set.examples.size());
  event.tokens = set.CountedTokens();
  on_event(event);
  FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss, EvaluateExamples(*engine, set, {}));
  event.event = "evaluated";
  event.loss = loss.mean();
  event.tokens = loss.tokens;
  on_event(event);
  event.event = "done";
  event.seconds = watch.Seconds();
  event.tokens_per_second = event.seconds > 0 ? static_cast<double>(event.tokens) / event.seconds : 0;
  event.peak_rss_bytes = PeakRssBytes();
  on_event(event);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Engine::Loss> EvaluateExamples(Engine& engine, const ExampleSet& set,
                                              const std::function<void(int64_t done)>& on_example) {
  Engine::Loss total;
  int64_t done = 0;
  for (const Example& example : set.examples) {
    if (StopRequested()) return CancelledError("stopped");
    FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss, engine.SequenceLoss(example.tokens, example.counted));
    total.sum += loss.sum;
    total.tokens += loss.tokens;
    if (on_example) on_example(++done);
  }
  return total;
}

absl::Status RunEvaluationJob(const TrainingJob& job, const EventSink& on_event) {
  try {
    return Evaluate(job, on_event);
  } catch (const std::bad_alloc&) {
    return FailedError("out of memory");
  } catch (const std::exception& error) {
    return FailedError(std::string("unexpected: ") + error.what());
  }
}

}  // namespace fedglm
