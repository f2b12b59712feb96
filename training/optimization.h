// The loop that all kinds of training share: steps over micro-batches, schedule, clipping, events.
#pragma once

#include <optional>

#include "adapter/training_job.h"
#include "base/status.h"
#include "training/data/records.h"
#include "training/evaluator.h"
#include "training/model/trained_model.h"
#include "training/trainer.h"

namespace fedglm {

struct TrainingSummary {
  double loss = 0;       // mean over the answer tokens of all steps
  int64_t examples = 0;  // seen, with repetition
  int64_t tokens = 0;    // computed
  double seconds = 0;
};

// job.plan.steps steps on `set`; evaluates on `held_out` (if any) every job.evaluate_every steps and at the end. Failed
// if the loss, a gradient or a weight stops being finite.
absl::StatusOr<TrainingSummary> Optimize(const TrainingJob& job, TrainedModel& model, const ExampleSet& set,
                                         const std::optional<ExampleSet>& held_out, const EventSink& on_event);

// Adds the gradient of the mean loss over the batches' answer tokens to the parameters. Returns the sum of the losses.
double AccumulateGradients(TrainedModel& model, const std::vector<Batch>& batches);

EvaluatedLoss ReportEvaluation(const TrainingJob& job, TrainedModel& model, const ExampleSet& set, int64_t step,
                               const EventSink& on_event);
TrainerEvent DoneEvent(const TrainingSummary& summary);

}  // namespace fedglm
