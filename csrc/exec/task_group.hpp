// Tasks that succeed or fail together.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <utility>

#include "exec/thread_pool.hpp"

namespace warpload {

// The first error wins: it is kept, `stopping()` becomes true, tasks that have not begun are withdrawn and
// those that run are expected to look at `stopping()` and return. Later errors are ignored, as they are
// mostly echoes of the first.
//
// `at_end` is run after the last task, before the group counts as finished: what the tasks set off is brought to rest
// there. An error of it is an error of the group.
//
// Threads: every member may be called from any thread; the destructor stops and drains, so no task of the
// group outlives it. A task may not wait for its own group.
class TaskGroup {
 public:
  explicit TaskGroup(ThreadPool& pool, std::function<void()> at_end = {}) noexcept
      : pool_(pool), at_end_(std::move(at_end)) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  void run(std::function<void()> task);

  // Records an error from outside (a cancel, a deadline) unless the group has ended already.
  void fail(std::exception_ptr error) noexcept;

  [[nodiscard]] bool stopping() const noexcept { return stopping_.load(std::memory_order_relaxed); }
  // Takes no lock, so that a child after fork may ask.
  [[nodiscard]] bool finished() const noexcept { return pending_ == 0; }

  void wait() const;
  [[nodiscard]] bool wait_until(std::chrono::steady_clock::time_point time) const;

  // The first error, or nullptr. Meaningful at any time; final once finished.
  [[nodiscard]] std::exception_ptr error() const noexcept;

 private:
  void execute(const std::function<void()>& task) noexcept;
  void withdraw_queued() noexcept;
  void leave(std::size_t tasks) noexcept;
  void note_error(std::exception_ptr error) noexcept;

  ThreadPool& pool_;
  std::function<void()> at_end_;
  mutable std::mutex mutex_;
  mutable std::condition_variable drained_;
  std::atomic<std::size_t> pending_ = 0;  // changed under the lock
  bool unsettled_ = false;                // a task has begun since at_end ran
  std::exception_ptr error_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace warpload
