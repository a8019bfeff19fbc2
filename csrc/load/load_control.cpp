#include "load/load_control.hpp"

#include <utility>

#include "warpload/error.hpp"

namespace warpload {

void LoadControl::run(std::function<void()> task) {
  group_.run([this, task = std::move(task)] {
    try {
      task();
    } catch (...) {
      group_.fail(std::current_exception());
    }
    segments_.wake();  // some may wait for segments that will never be complete
  });
}

void LoadControl::fail(std::exception_ptr error) noexcept {
  group_.fail(std::move(error));
  segments_.wake();
}

void LoadControl::cancel(const char* reason) noexcept {
  fail(std::make_exception_ptr(CancelledError({.reason = reason})));
}

void LoadControl::cancel_at(Clock::time_point deadline) noexcept {
  deadline_.store(deadline, std::memory_order_relaxed);
  static_cast<void>(stopping());
}

bool LoadControl::stopping() noexcept {
  if (stopped()) return true;
  const Clock::time_point last = deadline_.load(std::memory_order_relaxed);
  if (last == Clock::time_point::max() || Clock::now() < last) return false;
  cancel("the load was cancelled: its deadline has passed");
  return stopped();
}

bool LoadControl::wait_until(Clock::time_point time) {
  const Clock::time_point last = deadline_.load(std::memory_order_relaxed);
  if (last < time && !group_.wait_until(last)) static_cast<void>(stopping());
  if (time != Clock::time_point::max()) return group_.wait_until(time);
  group_.wait();
  return true;
}

bool LoadControl::wait_segment_until(std::size_t segment, Clock::time_point time) {
  const auto wait = [&](Clock::time_point end) {
    return segments_.wait_until(segment, end, [this] { return stopped(); });
  };
  const Clock::time_point last = deadline_.load(std::memory_order_relaxed);
  if (last < time && !wait(last)) static_cast<void>(stopping());
  return wait(time);
}

}  // namespace warpload
