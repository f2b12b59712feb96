// Clang's thread-safety annotations (-Wthread-safety), nothing under other compilers.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define FEDGLM_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define FEDGLM_THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(x) FEDGLM_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY FEDGLM_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(x) FEDGLM_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) FEDGLM_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) FEDGLM_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) FEDGLM_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define EXCLUDES(...) FEDGLM_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS FEDGLM_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace fedglm {

// std::mutex that the analysis understands.
class CAPABILITY("mutex") Mutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds the mutex for a scope. Wait() releases it while it waits, as a condition variable does.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() RELEASE() {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void Wait(std::condition_variable& condition) { condition.wait(lock_); }
  template <typename Duration>
  std::cv_status WaitFor(std::condition_variable& condition, Duration duration) {
    return condition.wait_for(lock_, duration);
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace fedglm
