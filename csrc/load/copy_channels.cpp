#include "load/copy_channels.hpp"

#include <algorithm>
#include <utility>

namespace warpload {

CopyChannelList CopyChannels::lease(DeviceBackend& backend, unsigned count) {
  CopyChannelList leased;
  leased.reserve(count);
  {
    const std::lock_guard lock(mutex_);
    // Those with memory for casts first: else a load with casts would take more of it.
    std::partition(idle_.begin(), idle_.end(), [](const auto& channel) { return !channel->staging; });
    while (leased.size() < count && !idle_.empty()) {
      leased.push_back(std::move(idle_.back()));
      idle_.pop_back();
    }
  }
  while (leased.size() < count) leased.push_back(std::make_unique<CopyChannel>(backend.create_stream()));
  return leased;
}

void CopyChannels::release(CopyChannelList channels) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    idle_.reserve(most_idle_);
  } catch (...) {
    return;  // no memory to note them in: they go
  }
  while (!channels.empty() && idle_.size() < most_idle_) {
    idle_.push_back(std::move(channels.back()));
    channels.pop_back();
  }
}

void CopyChannels::release_unused() {
  CopyChannelList unused;  // goes without the lock
  const std::lock_guard lock(mutex_);
  std::swap(unused, idle_);
}

}  // namespace warpload
