#include "inference/engine/scheduler.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <span>
#include <utility>

#include "base/clock.h"

namespace fedglm {
namespace {

constexpr int64_t kPressedChunk = 16;
// Idle pages are kept up to one context, and at least so many positions: more would take page cache from the weights.
constexpr int64_t kIdlePositions = 4096;
// How soon a request that waits for memory is looked at again when nothing has woken the thread.
constexpr std::chrono::milliseconds kRetry{20};

}  // namespace

Scheduler::Scheduler(EngineCore& core, const SchedulerOptions& options)
    : core_(core), options_(options), mixed_chunk_(options.mixed_chunk) {
  thread_ = std::thread([this] { Run(); });
}

Scheduler::~Scheduler() {
  {
    MutexLock lock(mutex_);
    closing_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

int64_t Scheduler::MostRunning(int level) const {
  if (level >= 2) return 1;
  return level == 1 ? std::max<int64_t>(1, options_.max_running / 2) : options_.max_running;
}

// No more than the workspace has rows for.
int64_t Scheduler::MostRunning() const {
  const int64_t most = MostRunning(pressure_.load(std::memory_order_relaxed));
  return core_.workspace != nullptr ? std::min(most, core_.workspace->logit_rows) : most;
}

void Scheduler::SetPressure(int level) {
  pressure_ = std::clamp(level, 0, 4);
  Wake();
}

void Scheduler::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  wake_.notify_all();
}

EngineStatistics Scheduler::Statistics() const {
  EngineStatistics statistics;
  {
    MutexLock lock(mutex_);
    statistics = statistics_;
    statistics.waiting = static_cast<int64_t>(waiting_.size());
    statistics.running = in_flight_ - statistics.waiting;
  }
  statistics.cache_pages = core_.SharedPages().allocated();
  statistics.cache_pages_free = core_.SharedPages().idle();
  for (size_t i = 0; i < kMemoryAccounts; ++i) {
    const auto account = static_cast<MemoryAccount>(i);
    statistics.memory.emplace_back(MemoryAccountName(account), core_.budget.used(account));
  }
  return statistics;
}

void Scheduler::Run() {
  bool computed = false;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!computed && !closing_ && !woken_) {
        if (waiting_.empty() && running_.empty()) {
          lock.Wait(wake_);
        } else if (lock.WaitFor(wake_, kRetry) == std::cv_status::timeout) {
          break;
        }
      }
      if (closing_) break;
      woken_ = false;
    }
    const Turn turn(core_.turns);
    const ThreadPool::CallerOnItsCore on_its_core(core_.pool);
    computed = Step();
  }
  const absl::Status closed = CancelledError("the engine is closing");
  const Turn turn(core_.turns);
  while (!running_.empty()) End(running_.back(), closed, FinishReason::kCancelled);
  MutexLock lock(mutex_);
  for (const auto& sequence : waiting_) sequence->Finish(closed, FinishReason::kCancelled);
  waiting_.clear();
}

bool Scheduler::Step() {
  RemoveAbandoned();
  core_.ForgetRetiredAdapters();
  ApplyPressure();
  Admit();
  std::vector<Share> shares = Plan();
  ReservePages(shares);
  if (!shares.empty()) Compute(shares);
  UpdateGauges();
  return !shares.empty();
}

void Scheduler::RemoveAbandoned() {
  const std::vector<std::shared_ptr<Sequence>> before = running_;
  for (const auto& sequence : before) {
    if (sequence->abandoned) End(sequence, absl::OkStatus(), FinishReason::kCancelled);
  }
}

void Scheduler::ApplyPressure() {
  const int level = pressure_.load(std::memory_order_relaxed);
  core_.TrimIdlePages(level >= 2 ? 0 : PagesFor(std::max(core_.context, kIdlePositions)));
  const bool weights_have_room = core_.MakeRoomForWeights();
  if (!HasWork()) {
    // It may have been made when there was more room than weights leave it.
    if (level >= 1 || !weights_have_room) core_.workspace = nullptr;
    return;
  }
  // The youngest gives up its pages, as for others' pages.
  while (!FitWorkspace().ok() && !running_.empty()) Preempt(running_.back());
  while (static_cast<int64_t>(running_.size()) > MostRunning()) Preempt(running_.back());
}

absl::Status Scheduler::FitWorkspace() {
  const bool pressed = pressure_.load(std::memory_order_relaxed) >= 1;
  const int64_t chunk = pressed ? kPressedChunk : options_.prefill_chunk;
  return core_.FitWorkspace(chunk + options_.max_running, options_.max_running);
}

bool Scheduler::HasWork() const {
  if (!running_.empty()) return true;
  MutexLock lock(mutex_);
  return !waiting_.empty();
}

// Half of the chunk goes to the oldest prompt, so that it gets there; the rest to the shortest first, so that they need
// not wait for it.
std::vector<int64_t> Scheduler::ShareChunk(const std::vector<std::shared_ptr<Sequence>>& reading, int64_t chunk) {
  std::vector<int64_t> counts(reading.size(), 0);
  std::vector<size_t> order(reading.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return reading[a]->pending() < reading[b]->pending(); });
  const auto give = [&](size_t i, int64_t most) {
    const int64_t count = std::min({most, chunk, reading[i]->pending() - counts[i]});
    counts[i] += count;
    chunk -= count;
  };
  if (!reading.empty()) give(0, (chunk + 1) / 2);
  for (const size_t i : order) give(i, chunk);
  return counts;
}

// Another request may have computed the same prompt's next pages meanwhile.
void Scheduler::TakeFromOthers(Sequence& sequence) {
  if (sequence.purpose() != SequencePurpose::kAnswer || sequence.mixed) return;
  const int64_t found = core_.prefixes.Lookup(sequence.owner, sequence.tokens(), sequence.cache);
  if (found == 0 || sequence.answered() > 0) return;
  sequence.cached_tokens += found;
  MutexLock lock(mutex_);
  statistics_.cache_hit_tokens += found;
}

std::vector<Scheduler::Share> Scheduler::Plan() {
  std::vector<Share> shares;
  std::vector<std::shared_ptr<Sequence>> reading;
  for (const auto& sequence : running_) {
    if (!sequence->HasRoom()) continue;
    if (sequence->answered() > 0 && sequence->pending() == 1) {
      shares.push_back({sequence, 1});
    } else {
      TakeFromOthers(*sequence);
      reading.push_back(sequence);
    }
  }
  if (reading.empty()) return shares;
  const auto answers = static_cast<int64_t>(shares.size());
  const bool pressed = pressure_.load(std::memory_order_relaxed) >= 1;
  const int64_t chunk = pressed ? kPressedChunk : answers > 0 ? mixed_chunk_.tokens() : options_.prefill_chunk;
  const std::vector<int64_t> counts = ShareChunk(reading, std::min(chunk, core_.workspace->rows - answers));
  for (size_t i = 0; i < reading.size(); ++i) {
    if (counts[i] > 0) shares.push_back({reading[i], counts[i]});
  }
  std::sort(shares.begin(), shares.end(), [](const Share& a, const Share& b) { return Older(a.sequence, b.sequence); });
  return shares;
}

// Where pages are short, the youngest gives up its own until the older ones have theirs.
void Scheduler::ReservePages(std::vector<Share>& shares) {
  for (size_t i = 0; i < shares.size(); ++i) {
    const std::shared_ptr<Sequence> sequence = shares[i].sequence;
    while (true) {
      const absl::Status status = core_.Reserve(sequence->cache, shares[i].count);
      if (status.ok()) break;
      const std::shared_ptr<Sequence> youngest = running_.back();
      const bool alone = running_.size() == 1 && core_.pages.in_use() == sequence->cache.pages();
      if (alone && core_.ShrinkWorkspace()) {
        shares[i].count = std::min(shares[i].count, core_.workspace->rows);
        continue;
      }
      if (alone) {
        shares.erase(shares.begin() + static_cast<ptrdiff_t>(i));
        const bool begun = sequence->answered() > 0;
        End(sequence, begun ? absl::OkStatus() : status, begun ? FinishReason::kLength : FinishReason::kCancelled);
        return;
      }
      Preempt(youngest);
      if (!shares.empty() && shares.back().sequence == youngest) shares.pop_back();
      if (youngest == sequence) return;  // it was the last
    }
  }
}

void Scheduler::Preempt(const std::shared_ptr<Sequence>& sequence) {
  Publish(*sequence, /*at_the_end=*/true);
  sequence->cache.Clear();
  sequence->mixed = false;
  sequence->ForgetHidden();
  running_.erase(std::find(running_.begin(), running_.end(), sequence));
  PutBack(sequence);
  MutexLock lock(mutex_);
  ++statistics_.preemptions;
}

void Scheduler::Compute(const std::vector<Share>& shares) {
  const InstalledAdapter current = core_.adapters.Default();
  std::vector<InstalledAdapter> adapters;  // kept for the step
  Batch batch;
  int64_t answer_rows = 0;
  for (const Share& share : shares) {
    if (share.sequence->answered() > 0 && share.count == 1) ++answer_rows;
    adapters.push_back(share.sequence->AdapterNow(current));
    batch.Add(share.sequence->cache, adapters.back().factors.get(), share.sequence->Next(share.count));
  }
  const Stopwatch stopwatch;
  absl::Status status =
      core_.model->Forward(batch, *core_.workspace, core_.PoolFor(batch.rows()), core_.residency.get());
  ReadSequences read;
  if (status.ok()) {
    Advance(shares);
    read = EndPrompts(shares, batch);
    if (!read.sequences.empty()) {
      status = core_.model->Logits(read.last_rows, *core_.workspace, core_.pool, core_.residency.get());
    }
  }
  if (!status.ok()) return Fail(shares, status);
  mixed_chunk_.Observe(answer_rows, batch.rows() - answer_rows, stopwatch.Seconds());
  if (!read.sequences.empty()) ChooseTokens(read.sequences);
}

Scheduler::ReadSequences Scheduler::EndPrompts(const std::vector<Share>& shares, const Batch& batch) {
  ReadSequences read;
  for (size_t i = 0; i < shares.size(); ++i) {
    const std::shared_ptr<Sequence>& sequence = shares[i].sequence;
    const int64_t first_row = batch.sequences[i].first_row;
    if (sequence->purpose() == SequencePurpose::kEmbedding) SumHidden(shares[i], first_row);
    if (sequence->pending() > 0) continue;
    if (sequence->purpose() == SequencePurpose::kEmbedding) {
      End(sequence, absl::OkStatus(), FinishReason::kStop);
    } else if (sequence->request().max_tokens <= 0) {
      End(sequence, absl::OkStatus(), FinishReason::kLength);
    } else {
      read.sequences.push_back(sequence);
      read.last_rows.push_back(first_row + shares[i].count - 1);
    }
  }
  return read;
}

void Scheduler::Fail(const std::vector<Share>& shares, const absl::Status& status) {
  for (const Share& share : shares) {
    if (std::find(running_.begin(), running_.end(), share.sequence) == running_.end()) continue;  // it has ended
    End(share.sequence, status, FinishReason::kCancelled);
  }
}

void Scheduler::Advance(const std::vector<Share>& shares) {
  for (const Share& share : shares) {
    Sequence& sequence = *share.sequence;
    sequence.cache.Advance(share.count);
    sequence.computed = std::max(sequence.computed, sequence.cache.length());
    Publish(sequence, /*at_the_end=*/false);
  }
  MutexLock lock(mutex_);
  ++statistics_.steps;
}

void Scheduler::SumHidden(const Share& share, int64_t first_row) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < share.count; ++row) rows.push_back(first_row + row);
  const auto width = static_cast<size_t>(core_.hyperparameters().hidden);
  std::vector<float> hidden(rows.size() * width);
  core_.model->Hidden(rows, *core_.workspace, hidden.data(), core_.pool);
  share.sequence->AddHidden(hidden, width);
}

// Sequence i has row i of the workspace's logits.
void Scheduler::ChooseTokens(const std::vector<std::shared_ptr<Sequence>>& sequences) {
  const auto vocabulary = static_cast<size_t>(core_.hyperparameters().vocabulary);
  float* const logits = core_.workspace->logits;
  std::vector<TokenChoice> choices(sequences.size());
  core_.pool.ParallelFor(static_cast<int64_t>(sequences.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      choices[i] = sequences[i]->Choose(std::span(logits + i * vocabulary, vocabulary));
    }
  });
  for (size_t i = 0; i < sequences.size(); ++i) {
    const int64_t before = sequences[i]->answered();
    const std::optional<FinishReason> reason =
        sequences[i]->Accept(std::move(choices[i]), *core_.tokenizer, core_.context);
    {
      MutexLock lock(mutex_);
      statistics_.generated_tokens += sequences[i]->answered() - before;
    }
    if (reason) End(sequences[i], absl::OkStatus(), *reason);
  }
}

// Lets others use the pages that are full, and at the end the last one too.
void Scheduler::Publish(Sequence& sequence, bool at_the_end) {
  const int64_t full_pages = sequence.cache.length() / kPageTokens;
  if (sequence.mixed || (!at_the_end && full_pages == sequence.published_pages)) return;
  core_.prefixes.Insert(sequence.owner, sequence.tokens(), sequence.cache, at_the_end);
  sequence.published_pages = full_pages;
}

void Scheduler::End(std::shared_ptr<Sequence> sequence, const absl::Status& status, FinishReason reason) {
  if (status.ok()) Publish(*sequence, /*at_the_end=*/true);
  sequence->cache.Clear();
  running_.erase(std::find(running_.begin(), running_.end(), sequence));
  {
    MutexLock lock(mutex_);
    --in_flight_;
  }
  UpdateGauges();
  sequence->Finish(status, reason);
}

void Scheduler::UpdateGauges() {
  MutexLock lock(mutex_);
  statistics_.cache_evictions = core_.evictions;
}

}  // namespace fedglm
