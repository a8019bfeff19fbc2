#include "exec/task_group.hpp"

#include <utility>

namespace warpload {
namespace {

template <class Function>
std::exception_ptr catch_all(const Function& function) noexcept {
  try {
    function();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace

TaskGroup::~TaskGroup() {
  stopping_.store(true, std::memory_order_relaxed);
  withdraw_queued();
  wait();
}

void TaskGroup::run(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    ++pending_;
  }
  try {
    pool_.submit(this, [this, task = std::move(task)] { execute(task); });
  } catch (...) {
    leave(1);
    throw;
  }
}

void TaskGroup::execute(const std::function<void()>& task) noexcept {
  if (!stopping()) {
    {
      const std::lock_guard lock(mutex_);
      unsettled_ = true;
    }
    note_error(catch_all(task));
  }
  leave(1);
}

void TaskGroup::leave(std::size_t tasks) noexcept {
  std::unique_lock lock(mutex_);
  // Again where another task has begun and ended meanwhile.
  while (pending_ == tasks && std::exchange(unsettled_, false) && at_end_) {
    lock.unlock();
    note_error(catch_all(at_end_));
    lock.lock();
  }
  // Notified under the lock: the waiter may destroy the group as soon as it sees zero.
  pending_ -= tasks;
  if (pending_ == 0) drained_.notify_all();
}

void TaskGroup::note_error(std::exception_ptr error) noexcept {
  if (error) fail(std::move(error));
}

void TaskGroup::fail(std::exception_ptr error) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (pending_ == 0 || error_) return;
    error_ = std::move(error);
    stopping_.store(true, std::memory_order_relaxed);
  }
  withdraw_queued();
}

void TaskGroup::withdraw_queued() noexcept {
  const auto withdrawn = pool_.withdraw(this);
  if (!withdrawn.empty()) leave(withdrawn.size());
}

void TaskGroup::wait() const {
  std::unique_lock lock(mutex_);
  drained_.wait(lock, [this] { return pending_ == 0; });
}

bool TaskGroup::wait_until(std::chrono::steady_clock::time_point time) const {
  std::unique_lock lock(mutex_);
  return drained_.wait_until(lock, time, [this] { return pending_ == 0; });
}

std::exception_ptr TaskGroup::error() const noexcept {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace warpload
