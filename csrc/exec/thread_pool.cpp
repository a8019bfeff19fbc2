#include "exec/thread_pool.hpp"

#include <sched.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace warpload {

ThreadPool::ThreadPool(unsigned threads) {
  workers_.reserve(threads);
  try {
    for (unsigned index = 0; index < std::max(threads, 1U); ++index) workers_.emplace_back([this] { work(); });
  } catch (...) {
    join();
    throw;
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::submit(const void* owner, Task task) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({owner, std::move(task)});
  }
  wake_.notify_one();
}

std::list<ThreadPool::Entry> ThreadPool::withdraw(const void* owner) noexcept {
  std::list<Entry> withdrawn;
  const std::lock_guard lock(mutex_);
  for (auto entry = queue_.begin(); entry != queue_.end();) {
    const auto next = std::next(entry);
    if (entry->owner == owner) withdrawn.splice(withdrawn.end(), queue_, entry);
    entry = next;
  }
  return withdrawn;
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Task task = std::move(queue_.front().task);
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what the task captured is destroyed outside the lock
    lock.lock();
  }
}

void ThreadPool::join() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

unsigned ThreadPool::usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
  return std::max(std::thread::hardware_concurrency(), 1U);  // more processors than cpu_set_t holds
}

}  // namespace warpload
