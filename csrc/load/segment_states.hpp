// What has become of each segment of a load so far, and the waits for it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "plan/load_plan.hpp"

namespace warpload {

// Workers say what has arrived; others wait for it. What waits ends early once `ended` is true, which is asked under a
// lock and must take none: whoever makes it true calls wake() afterwards.
//
// Threads: any.
class SegmentStates {
 public:
  using Ended = std::function<bool()>;
  using Clock = std::chrono::steady_clock;

  // Each segment has as many runs to come as the plan says.
  explicit SegmentStates(const LoadPlan& plan);

  // The arena is there, and the lanes wait for the callers' streams: workers may write. `begins` has the first byte of
  // each segment, null where it has none. Once.
  void announce_arena(std::vector<std::byte*> begins);

  // Waits until the arena is there; false when the load ends before.
  [[nodiscard]] bool wait_for_arena(const Ended& ended) const;

  // The first byte of a segment; wait_for_arena has returned true.
  [[nodiscard]] std::byte* begin_of(std::size_t segment) const noexcept { return begins_[segment]; }

  // So many more runs of the segment are in the arena, or, on a device, on their way there in the order of its streams;
  // or they are skipped, as the segment was released.
  void arrived(std::size_t segment, std::size_t runs);

  [[nodiscard]] bool has_arrived(std::size_t segment) const noexcept {
    return runs_left_[segment].load(std::memory_order_acquire) == 0;
  }

  // Waits until all runs of the segment have arrived, but no longer than `time`. True when they have, or when the
  // load has ended.
  [[nodiscard]] bool wait_until(std::size_t segment, Clock::time_point time, const Ended& ended) const;

  // Nobody wants the segment any more: workers skip what they have not begun of it.
  void mark_released(std::size_t segment) noexcept { released_[segment].store(true, std::memory_order_release); }
  [[nodiscard]] bool is_released(std::size_t segment) const noexcept {
    return released_[segment].load(std::memory_order_acquire);
  }

  // Has all that wait look again.
  void wake() const noexcept;

 private:
  std::unique_ptr<std::atomic<std::size_t>[]> runs_left_;  // by segment
  std::unique_ptr<std::atomic<bool>[]> released_;          // by segment
  std::vector<std::byte*> begins_;                         // by segment; not changed once arena_ready_ is true
  std::atomic<bool> arena_ready_ = false;
  mutable std::mutex mutex_;  // of the waits
  mutable std::condition_variable changed_;
};

}  // namespace warpload
