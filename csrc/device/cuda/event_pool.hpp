// Events of one GPU that are used again and again.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "device/cuda/context.hpp"

namespace warpload::cuda {

// Making an event takes a lock of the context's, which many threads that make some at once wait for. An event may be
// recorded anew although somebody still waits for its last recording: a wait keeps the recording that it met. Destroys
// the events at its end. Threads: any.
class EventPool {
 public:
  explicit EventPool(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool();

  // An event that nobody else has; waiting for it sleeps. The context must be current. Throws DeviceError.
  [[nodiscard]] EventHandle take();
  void release(EventHandle event) noexcept;

  [[nodiscard]] Context& context() const noexcept { return *context_; }

 private:
  std::shared_ptr<Context> context_;
  std::mutex mutex_;  // never held during a call of the driver
  std::size_t made_ = 0;
  std::vector<EventHandle> free_;
};

}  // namespace warpload::cuda
