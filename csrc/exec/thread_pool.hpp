// A fixed set of worker threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace warpload {

// Runs tasks in the order of their submission. Tasks must not throw: a TaskGroup, which catches, is the usual
// way in.
//
// Threads: submit may be called from any thread, a worker's included. The destructor runs what is still
// queued, then joins; it must not be called by a worker.
class ThreadPool {
 public:
  using Task = std::function<void()>;

  // Throws std::system_error when the system gives no thread; those started before are joined.
  explicit ThreadPool(unsigned threads);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(workers_.size()); }
  void submit(Task task);

  // Processors that this process may run on (its affinity mask), at least 1.
  [[nodiscard]] static unsigned usable_processors() noexcept;

 private:
  void work();
  void join() noexcept;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;
  bool closing_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace warpload
