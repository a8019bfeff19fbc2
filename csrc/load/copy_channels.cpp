#include "load/copy_channels.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace warpload {

CopyChannelList CopyChannels::lease(DeviceBackend& backend, unsigned count) {
  CopyChannelList leased;
  leased.reserve(count);
  {
    const std::lock_guard lock(mutex_);
    while (leased.size() < count && !idle_.empty()) {
      leased.push_back(std::move(idle_.back()));
      idle_.pop_back();
    }
  }
  while (leased.size() < count) leased.push_back(std::make_unique<CopyChannel>(backend.create_stream()));
  return leased;
}

void CopyChannels::give_back(CopyChannelList channels) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    idle_.reserve(idle_.size() + channels.size());
  } catch (...) {
    return;  // no memory to note them in: they go
  }
  // In the order that they had, so that the next load leases them alike: those with memory for casts first.
  std::move(channels.rbegin(), channels.rend(), std::back_inserter(idle_));
}

std::uint64_t CopyChannels::release_unused() {
  CopyChannelList unused;
  {
    const std::lock_guard lock(mutex_);
    std::swap(unused, idle_);
  }
  std::uint64_t bytes = 0;
  for (const auto& channel : unused) bytes += channel->staging ? channel->staging->bytes() : 0;
  return bytes;
}

}  // namespace warpload
