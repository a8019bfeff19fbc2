#include "exec/task_group.hpp"

#include <utility>

namespace warpload {

TaskGroup::~TaskGroup() {
  stopping_.store(true, std::memory_order_relaxed);
  wait();
}

void TaskGroup::run(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    ++pending_;
  }
  try {
    pool_.submit([this, task = std::move(task)] { execute(task); });
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (--pending_ == 0) drained_.notify_all();
    throw;
  }
}

void TaskGroup::execute(const std::function<void()>& task) noexcept {
  std::exception_ptr thrown;
  try {
    if (!stopping()) task();
  } catch (...) {
    thrown = std::current_exception();
  }
  // Notified under the lock: the waiter may destroy the group as soon as it sees zero.
  const std::lock_guard lock(mutex_);
  if (thrown && !error_) {
    error_ = thrown;
    stopping_.store(true, std::memory_order_relaxed);
  }
  if (--pending_ == 0) drained_.notify_all();
}

void TaskGroup::fail(std::exception_ptr error) noexcept {
  const std::lock_guard lock(mutex_);
  if (pending_ == 0 || error_) return;
  error_ = std::move(error);
  stopping_.store(true, std::memory_order_relaxed);
}

bool TaskGroup::finished() const noexcept {
  const std::lock_guard lock(mutex_);
  return pending_ == 0;
}

void TaskGroup::wait() const {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [this] { return pending_ == 0; });
}

bool TaskGroup::wait_for(std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  return drained_.wait_for(lock, timeout, [this] { return pending_ == 0; });
}

std::exception_ptr TaskGroup::error() const noexcept {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace warpload
