#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/thread_annotations.h"

namespace fedglm {
namespace {

// A few microseconds: between two layers of a model the next call comes at once, and waking a thread costs more.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// [threads], or empty for threads that are not kept anywhere. kAuto pins only a pool as large as the cores there are:
// of smaller ones, several processes might choose the same cores, and a pinned thread cannot give way.
std::vector<Core> ChooseCores(int threads, ThreadPinning pinning) {
  if (pinning == ThreadPinning::kOff || threads < 2) return {};
  const std::vector<Core> cores = CoresOf(AllowedProcessors());
  if (pinning == ThreadPinning::kAuto && threads != static_cast<int>(cores.size())) return {};
  return PlaceThreads(cores, threads, sched_getcpu());
}

}  // namespace

std::optional<ThreadPinning> ThreadPinningFromName(std::string_view name) {
  if (name == "off") return ThreadPinning::kOff;
  if (name == "auto") return ThreadPinning::kAuto;
  if (name == "on") return ThreadPinning::kOn;
  return std::nullopt;
}

struct ThreadPool::State {
  Mutex turn;  // one ParallelFor at a time

  // The current call. Written by the caller, whose turn it is, before it is opened; read by the workers inside.
  const std::function<void(int64_t, int64_t)>* body ABSL_GUARDED_BY(turn) = nullptr;
  int64_t count ABSL_GUARDED_BY(turn) = 0, grain ABSL_GUARDED_BY(turn) = 1;
  std::atomic<int64_t> next{0};
  // How many workers are inside the call, and whether it is closed to more. The caller closes it when no range is left
  // and waits for those inside only: a worker that the machine has not woken yet holds up nobody.
  static constexpr uint32_t kClosed = 1u << 31;
  std::atomic<uint32_t> inside{kClosed};

  std::atomic<uint64_t> generation{0};
  std::atomic<bool> stop{false};
  Mutex sleep;  // guards sleeping workers' decision to wait: what they wait for changes with it held
  std::condition_variable wake;
  std::vector<Core> cores;  // of the caller and the workers, in this order; empty: anywhere
  std::vector<std::thread> workers;
  Mutex failing;
  std::exception_ptr failure ABSL_GUARDED_BY(failing);  // the first one of the current call

  void BeginGeneration() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sleep) { generation.fetch_add(1, std::memory_order_release); }
  void Stop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sleep) { stop = true; }

  // Not analysed: a worker reads what the caller, who has the turn until all workers have left, wrote before `inside`
  // was opened.
  void TakeRanges() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    try {
      while (true) {
        const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        (*body)(begin, std::min(count, begin + grain));
      }
    } catch (...) {
      next.store(count, std::memory_order_relaxed);
      MutexLock lock(failing);
      if (failure == nullptr) failure = std::current_exception();
    }
  }

  void ThrowFailure() {
    std::exception_ptr thrown;
    {
      MutexLock lock(failing);
      thrown = std::exchange(failure, nullptr);
    }
    if (thrown != nullptr) std::rethrow_exception(thrown);
  }

  bool AwaitWork(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (generation.load(std::memory_order_acquire) != seen || stop.load(std::memory_order_relaxed)) return true;
      Pause();
    }
    MutexLock lock(sleep);
    while (generation.load(std::memory_order_acquire) == seen && !stop.load()) lock.Wait(wake);
    return true;
  }

  void Work(size_t thread) {
    // A kernel that refuses leaves the worker as it was, which is slower at worst.
    if (!cores.empty()) AllowProcessors(cores[thread].processors);
    uint64_t seen = 0;
    while (true) {
      AwaitWork(seen);
      if (stop.load()) return;
      seen = generation.load(std::memory_order_acquire);
      if ((inside.fetch_add(1, std::memory_order_acquire) & kClosed) == 0) TakeRanges();
      inside.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int threads, ThreadPinning pinning) : state_(std::make_unique<State>()) {
  if (threads < 1) threads = UsablePhysicalCores();
  state_->cores = ChooseCores(threads, pinning);
  for (int i = 1; i < threads; ++i) {
    try {
      state_->workers.emplace_back([this, i] { state_->Work(static_cast<size_t>(i)); });
    } catch (const std::system_error&) {
      return;  // the machine gives no more
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(state_->sleep);
    state_->Stop();
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

const std::vector<Core>& ThreadPool::cores() const { return state_->cores; }

void ThreadPool::ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  if (state_->workers.empty() || count <= grain) {
    body(0, count);
    return;
  }
  MutexLock turn(state_->turn);
  state_->body = &body;
  state_->count = count;
  state_->grain = grain;
  state_->next.store(0, std::memory_order_relaxed);
  state_->inside.fetch_and(~State::kClosed, std::memory_order_release);
  {
    MutexLock lock(state_->sleep);
    state_->BeginGeneration();
  }
  state_->wake.notify_all();
  state_->TakeRanges();
  state_->inside.fetch_or(State::kClosed, std::memory_order_acquire);
  for (int spins = 0; state_->inside.load(std::memory_order_acquire) != State::kClosed; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();  // the core may be wanted by the very worker that is waited for
    }
  }
  state_->ThrowFailure();
}

ThreadPool::CallerOnItsCore::CallerOnItsCore(const ThreadPool& pool) {
  if (pool.cores().empty()) return;
  before_ = AllowedProcessors();
  AllowProcessors(pool.cores().front().processors);
}

ThreadPool::CallerOnItsCore::~CallerOnItsCore() {
  if (!before_.empty()) AllowProcessors(before_);
}

}  // namespace fedglm
