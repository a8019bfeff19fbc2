#include "load/segment_states.hpp"

#include <utility>

namespace warpload {

SegmentStates::SegmentStates(const LoadPlan& plan)
    : runs_left_(std::make_unique<std::atomic<std::size_t>[]>(plan.segments.size())),
      released_(std::make_unique<std::atomic<bool>[]>(plan.segments.size())) {
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    runs_left_[index].store(plan.segments[index].run_count, std::memory_order_relaxed);
  }
}

void SegmentStates::announce_arena(std::vector<std::byte*> begins) {
  begins_ = std::move(begins);
  arena_ready_.store(true, std::memory_order_release);
  wake();
}

bool SegmentStates::wait_for_arena(const Ended& ended) const {
  const auto ready = [this] { return arena_ready_.load(std::memory_order_acquire); };
  if (ready()) return true;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready() || ended(); });
  return ready();
}

void SegmentStates::arrived(std::size_t segment, std::size_t runs) {
  if (runs_left_[segment].fetch_sub(runs, std::memory_order_acq_rel) == runs) wake();
}

bool SegmentStates::wait_until(std::size_t segment, Clock::time_point time, const Ended& ended) const {
  const auto over = [&] { return has_arrived(segment) || ended(); };
  std::unique_lock lock(mutex_);
  if (time != Clock::time_point::max()) return changed_.wait_until(lock, time, over);
  changed_.wait(lock, over);
  return true;
}

void SegmentStates::wake() const noexcept {
  // Taken and released so that no waiter is between its test and its sleep.
  {
    const std::lock_guard lock(mutex_);
  }
  changed_.notify_all();
}

}  // namespace warpload
