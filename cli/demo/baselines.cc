#include "cli/demo/baselines.h"

#include <atomic>
#include <thread>

#include "base/cpu.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/thread_annotations.h"
#include "client/worker_process.h"

namespace fedglm::cli {
namespace {

// Takes jobs from the list until there are none, or one has failed.
class JobRunner {
 public:
  JobRunner(const std::vector<TrainingJob>& jobs, bool quiet)
      : jobs_(jobs), progress_("baselines", TotalOf(jobs), quiet) {}

  absl::Status Run(int workers) {
    std::vector<std::jthread> threads;  // joined also if the next cannot be started
    for (int i = 0; i < workers; ++i) threads.emplace_back([this] { Work(); });
    for (std::jthread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    if (status_.ok()) progress_.Finish("site-only and pooled adapters");
    return status_;
  }

 private:
  // In the steps of a site: a pooled step is as much work as the steps of all sites.
  static int64_t TotalOf(const std::vector<TrainingJob>& jobs) {
    int64_t total = 0;
    for (const TrainingJob& job : jobs) total += job.plan.steps * job.plan.batch_tokens / jobs.back().plan.batch_tokens;
    return total;
  }

  void Work() {
    for (size_t i = next_++; i < jobs_.size() && !failed_; i = next_++) {
      const int64_t weight = jobs_[i].plan.batch_tokens / jobs_.back().plan.batch_tokens;
      const auto on_event = [&](const TrainerEvent& event) {
        if (event.event != "step") return;
        MutexLock lock(mutex_);
        done_ += weight;
        progress_.Update(done_);
      };
      const auto done = RunWorkerProcess(jobs_[i], true, {on_event, [this] { return StopRequested() || failed_; }});
      if (done.ok()) continue;
      MutexLock lock(mutex_);
      if (!failed_) status_ = done.status();
      failed_ = true;
    }
  }

  const std::vector<TrainingJob>& jobs_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  Progress progress_ ABSL_GUARDED_BY(mutex_);
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<Baselines> TrainBaselines(const DemoPlan& plan, const std::vector<DemoSite>& sites, bool quiet) {
  const std::filesystem::path folder = plan.work_dir / "baselines";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  TrainingJob common;
  common.plan = plan.training;
  common.micro_batch_tokens = plan.training.batch_tokens;
  common.kind = JobKind::kTrain;
  FEDGLM_ASSIGN_OR_RETURN(common.mode, ParseUpdateForm(plan.mode));
  common.model = plan.model;
  common.adapter = plan.initial_adapter;
  common.plan.steps = plan.training.steps * plan.rounds;
  common.schedule_steps = common.plan.steps;
  common.threads = 1;

  Baselines result;
  TrainingJob pooled = common;  // the longest first
  pooled.plan.batch_tokens *= static_cast<int64_t>(sites.size());
  pooled.output = result.pooled = folder / "pooled";
  pooled.threads = std::max(1, UsablePhysicalCores() / 2);
  for (const DemoSite& site : sites) pooled.records.push_back(site.training);
  std::vector<TrainingJob> jobs = {pooled};
  for (const DemoSite& site : sites) {
    TrainingJob job = common;
    job.records = {site.training};
    job.output = folder / site.name;
    result.local.push_back(job.output);
    jobs.push_back(job);
  }
  FEDGLM_RETURN_IF_ERROR(JobRunner(jobs, quiet).Run(std::max(1, UsablePhysicalCores())));
  return result;
}

}  // namespace fedglm::cli
