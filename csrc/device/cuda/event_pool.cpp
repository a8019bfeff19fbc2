#include "device/cuda/event_pool.hpp"

namespace warpload::cuda {

EventPool::~EventPool() {
  for (const EventHandle event : free_) {
    clean_up(*context_, [&](const Driver& driver) { return driver.cuEventDestroy_v2(event); });
  }
}

EventHandle EventPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      const EventHandle event = free_.back();
      free_.pop_back();
      return event;
    }
    free_.reserve(++made_);  // so that release cannot fail
  }
  EventHandle event = nullptr;
  WARPLOAD_CUDA(*context_, cuEventCreate, &event, kEventBlockingSync | kEventDisableTiming);
  return event;
}

void EventPool::release(EventHandle event) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(event);
}

}  // namespace warpload::cuda
