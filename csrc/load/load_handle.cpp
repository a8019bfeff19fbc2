#include "warpload/load_handle.hpp"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "load/load_state.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

// Long waits are cut to what a point in time can say.
Clock::time_point time_in(std::chrono::milliseconds timeout) {
  constexpr std::chrono::hours kLongest{24 * 365};
  return Clock::now() + std::min<std::chrono::milliseconds>(timeout, kLongest);
}

void check_segment(std::size_t segment, std::size_t count) {
  if (segment >= count) throw InvalidArgumentError({.reason = "no such segment"});
}

[[noreturn]] void refuse_process() {
  throw InvalidArgumentError(
      {.reason = "the load belongs to the process that started it; this one is its child by fork",
       .cure = "load anew in the child, or wait for the load before the fork"});
}

}  // namespace

// A child after fork has none of the threads that a load needs to go on, and their locks may be held for good. What had
// ended before the fork is there.
bool LoadHandle::is_foreign() const {
  if (state_->owner == ::getpid()) return false;
  if (!state_->control.finished()) refuse_process();
  return true;
}

LoadHandle::LoadHandle(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
LoadHandle::LoadHandle(LoadHandle&&) noexcept = default;
LoadHandle& LoadHandle::operator=(LoadHandle&& other) noexcept {
  if (this != &other) State::end(std::exchange(state_, std::move(other.state_)));
  return *this;
}
LoadHandle::~LoadHandle() { State::end(std::move(state_)); }

bool LoadHandle::done() const noexcept {
  if (state_->owner != ::getpid()) return true;   // nobody is at it here
  static_cast<void>(state_->control.stopping());  // a load that no worker has come to yet may be past its deadline
  return state_->control.finished();
}

void LoadHandle::wait() const {
  if (!is_foreign()) static_cast<void>(state_->control.wait_until(Clock::time_point::max()));
}

bool LoadHandle::wait_for(std::chrono::milliseconds timeout) const {
  return is_foreign() || state_->control.wait_until(time_in(timeout));
}

bool LoadHandle::wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const {
  check_segment(segment, segment_count());
  return is_foreign() || state_->control.wait_segment_until(segment, time_in(timeout));
}

// A driver cannot be used on both sides of a fork.
DeviceLane* LoadHandle::lane_here(std::size_t segment) const {
  DeviceLane* const lane = state_->lane_of[segment];
  if (is_foreign() && lane != nullptr) refuse_process();
  return lane;
}

void LoadHandle::make_stream_wait(std::size_t segment, void* stream) const {
  check_segment(segment, segment_count());
  if (DeviceLane* lane = lane_here(segment)) lane->make_stream_wait(stream);
}

void LoadHandle::wait_arrival(std::size_t segment) const {
  check_segment(segment, segment_count());
  if (DeviceLane* lane = lane_here(segment)) lane->drain();
}

bool LoadHandle::release_until(std::size_t segment, Clock::time_point time) const {
  check_segment(segment, segment_count());
  if (is_foreign()) refuse_process();
  return state_->release_segment_until(segment, time);
}

void LoadHandle::release_segment(std::size_t segment) const {
  static_cast<void>(release_until(segment, Clock::time_point::max()));
}

bool LoadHandle::release_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const {
  return release_until(segment, time_in(timeout));
}

LoadProgress LoadHandle::progress() const noexcept { return state_->counters->progress(); }

LoadTimes LoadHandle::times() const noexcept { return state_->counters->clock.times(); }

LoadMeter LoadHandle::meter() const noexcept { return LoadMeter(state_->counters); }

LoadTrace LoadHandle::trace() const noexcept { return LoadTrace(state_->trace); }

void LoadHandle::cancel() noexcept {
  if (state_->owner == ::getpid()) state_->control.cancel("the load was cancelled");
}

void LoadHandle::cancel_at(std::chrono::steady_clock::time_point deadline) noexcept {
  if (state_->owner == ::getpid()) state_->control.cancel_at(deadline);
}

void LoadHandle::rethrow_if_failed() const {
  static_cast<void>(is_foreign());
  if (!state_->control.error()) return;
  state_->control.wait();  // drained before it is reported
  std::rethrow_exception(state_->control.error());
}

std::size_t LoadHandle::segment_count() const noexcept { return state_->plan.segments.size(); }

TensorList LoadHandle::tensors(std::size_t segment) const {
  check_segment(segment, segment_count());
  static_cast<void>(is_foreign());
  const std::lock_guard lock(state_->tensors_mutex);
  return state_->tensors[segment];
}

LoadResult LoadHandle::get() const {
  wait();
  rethrow_if_failed();
  const std::lock_guard lock(state_->tensors_mutex);
  return LoadResult(state_->tensors);
}

TensorList LoadResult::tensors(std::size_t segment) const {
  check_segment(segment, segments_.size());
  return segments_[segment];
}

}  // namespace warpload
