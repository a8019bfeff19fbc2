// When a load has to stop, and when it has: its tasks, its first error, its deadline.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>

#include "exec/task_group.hpp"
#include "exec/thread_pool.hpp"
#include "load/segment_states.hpp"

namespace warpload {

// The first of an error, a cancel and a deadline stops the load: tasks that have not begun are withdrawn, those that
// run are expected to look at stopping() and to return, and all that wait for segments are woken.
//
// A deadline is noticed by whoever looks: workers between two runs, and whoever waits.
//
// Threads: any. The destructor stops the load and waits for the tasks.
class LoadControl {
 public:
  using Clock = std::chrono::steady_clock;

  // `at_end` runs after the last task, before the load counts as finished; see TaskGroup. `segments` and what `at_end`
  // uses have to outlive this.
  LoadControl(ThreadPool& workers, const SegmentStates& segments, std::function<void()> at_end)
      : segments_(segments), group_(workers, std::move(at_end)) {}

  // Runs the task on a worker. What it throws fails the load.
  void run(std::function<void()> task);

  void fail(std::exception_ptr error) noexcept;
  void cancel(const char* reason) noexcept;
  void cancel_at(Clock::time_point deadline) noexcept;

  // True when the workers have to leave; a deadline that has passed is noticed here. Not to be called under a lock.
  [[nodiscard]] bool stopping() noexcept;

  // True when the workers have to leave, without a look at the clock. Takes no lock.
  [[nodiscard]] bool stopped() const noexcept { return group_.stopping(); }

  // True when no task is left, and `at_end` has run. Takes no lock, so that a child after fork may ask.
  [[nodiscard]] bool finished() const noexcept { return group_.finished(); }

  // The first error, or nullptr; final once finished.
  [[nodiscard]] std::exception_ptr error() const noexcept { return group_.error(); }

  // Waits until the load has finished.
  void wait() const { group_.wait(); }

  // Waits until the load has finished, but no longer than `time`; returns finished().
  [[nodiscard]] bool wait_until(Clock::time_point time);

  // Waits until the segment has arrived or the load has stopped, but no longer than `time`; false when neither has.
  [[nodiscard]] bool wait_segment_until(std::size_t segment, Clock::time_point time);

 private:
  const SegmentStates& segments_;
  std::atomic<Clock::time_point> deadline_ = Clock::time_point::max();
  TaskGroup group_;  // last: its tasks use what is above
};

}  // namespace warpload
