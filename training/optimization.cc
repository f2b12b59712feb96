#include "training/optimization.h"

#include <torch/torch.h>

#include <cmath>

#include "base/clock.h"
#include "base/memory.h"
#include "training/data/batches.h"
#include "training/optimizer/optimizer.h"

namespace fedglm {

double AccumulateGradients(TrainedModel& model, const std::vector<Batch>& batches) {
  int64_t targets = 0;
  for (const Batch& batch : batches) targets += static_cast<int64_t>(batch.targets.size());
  double sum = 0;
  for (const Batch& batch : batches) {
    sum += model.AddGradients(batch, 1.0 / static_cast<double>(targets));
  }
  return sum;
}

EvaluatedLoss ReportEvaluation(const TrainingJob& job, TrainedModel& model, const ExampleSet& set, int64_t step,
                               const EventSink& on_event) {
  const EvaluatedLoss evaluated = Evaluate(model, set, job.micro_batch_tokens);
  TrainerEvent event;
  event.event = "evaluated";
  event.step = step;
  event.loss = evaluated.loss;
  event.tokens = evaluated.tokens;
  on_event(event);
  return evaluated;
}

TrainerEvent DoneEvent(const TrainingSummary& summary) {
  TrainerEvent event;
  event.event = "done";
  event.loss = summary.loss;
  event.examples = summary.examples;
  event.tokens = summary.tokens;
  event.seconds = summary.seconds;
  event.tokens_per_second = summary.seconds > 0 ? static_cast<double>(summary.tokens) / summary.seconds : 0;
  event.peak_rss_bytes = PeakRssBytes();
  return event;
}

absl::StatusOr<TrainingSummary> Optimize(const TrainingJob& job, TrainedModel& model, const ExampleSet& set,
                                         const std::optional<ExampleSet>& held_out, const EventSink& on_event) {
  Optimizer optimizer(job, model.Parameters());
  ExampleOrder order(static_cast<int64_t>(set.examples.size()), job.plan.seed, job.skip_records);
  TrainingSummary summary;
  double loss_sum = 0;
  int64_t loss_tokens = 0;
  const Stopwatch watch;
  for (int64_t step = 1; step <= job.plan.steps; ++step) {
    const std::vector<Batch> batches = NextStep(set, order, job.plan.batch_tokens, job.micro_batch_tokens);
    int64_t targets = 0;
    for (const Batch& batch : batches) {
      targets += static_cast<int64_t>(batch.targets.size());
      summary.tokens += static_cast<int64_t>(batch.tokens.size());
      summary.examples += batch.examples;
    }
    optimizer.ZeroGradients();
    const double sum = AccumulateGradients(model, batches);
    if (!std::isfinite(sum)) {
      return FailedError("the loss is no longer finite at step " + std::to_string(step) + ": lower the learning rate");
    }
    if (!std::isfinite(optimizer.Step(step - 1))) {
      return FailedError("the gradient is no longer finite at step " + std::to_string(step) +
                         ": lower the learning rate");
    }
    loss_sum += sum;
    loss_tokens += targets;
    summary.seconds = watch.Seconds();
    TrainerEvent event;
    event.event = "step";
    event.step = step;
    event.steps = job.plan.steps;
    event.loss = sum / static_cast<double>(targets);
    event.tokens_per_second = static_cast<double>(summary.tokens) / summary.seconds;
    on_event(event);
    const bool last = step == job.plan.steps;
    if (held_out && (last || (job.evaluate_every > 0 && step % job.evaluate_every == 0))) {
      ReportEvaluation(job, model, *held_out, step, on_event);
    }
  }
  for (const at::Tensor& parameter : model.Parameters()) {
    // The last step's result is in no loss yet.
    if (!at::isfinite(parameter).all().item<bool>()) {
      return FailedError("the weights are no longer finite after the last step: lower the learning rate");
    }
  }
  summary.loss = loss_tokens > 0 ? loss_sum / static_cast<double>(loss_tokens) : 0;
  summary.seconds = watch.Seconds();
  return summary;
}

}  // namespace fedglm
