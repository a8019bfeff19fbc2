// A fixed set of worker threads.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace warpload {

// Runs tasks in the order of their submission. Tasks must not throw: a TaskGroup, which catches, is the
// usual way in.
//
// Threads: submit may be called from any thread, a worker's included. The destructor runs what is still
// queued, then joins; it must not be called by a worker.
class ThreadPool {
 public:
  using Task = std::function<void()>;
  struct Entry {
    const void* owner;
    Task task;
  };

  // Throws std::system_error when the system gives no thread; those started before are joined.
  explicit ThreadPool(unsigned threads);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(workers_.size()); }

  // `owner` only tells one submitter's tasks from another's.
  void submit(const void* owner, Task task);

  // Takes out the owner's tasks that no worker has begun. They are returned so that what they captured is destroyed
  // outside every lock.
  [[nodiscard]] std::list<Entry> withdraw(const void* owner) noexcept;

  // Processors that this process may run on (its affinity mask), at least 1.
  [[nodiscard]] static unsigned usable_processors() noexcept;

 private:
  void work();
  void join() noexcept;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Entry> queue_;
  bool closing_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace warpload
