// What the copies of one device run on, kept from load to load: streams, and device memory for casts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "device/backend.hpp"
#include "device/segment.hpp"

namespace warpload {

// A copy stream, and the device's memory that a slot's bytes wait in for their casts.
struct CopyChannel {
  explicit CopyChannel(std::unique_ptr<Stream> own) noexcept : stream(std::move(own)) {}

  std::mutex mutex;  // copy, casts and event of a slot must not mix with another's
  std::unique_ptr<Stream> stream;
  std::shared_ptr<Segment> staging;  // of a slot's size; null until casts, or the choice of who casts, needed it
};

using CopyChannelList = std::vector<std::unique_ptr<CopyChannel>>;

// Channels are one load's at a time. They are kept because streams cost time to make, and because a driver that frees
// memory waits for all that the device does, the caller's work too. Threads: any.
class CopyChannels {
 public:
  // `most_idle` is how many are kept: what one load uses.
  explicit CopyChannels(std::size_t most_idle) noexcept : most_idle_(most_idle) {}

  // Gives `count` channels to one load: idle ones, and new ones where those do not suffice. Throws DeviceError.
  [[nodiscard]] CopyChannelList lease(DeviceBackend& backend, unsigned count);

  // Takes leased channels back, all of whose queued work has been done. Those that are more than may be kept are
  // destroyed.
  void release(CopyChannelList channels) noexcept;

  // Destroys the idle ones with their memory.
  void release_unused();

 private:
  std::size_t most_idle_;
  std::mutex mutex_;
  CopyChannelList idle_;
};

}  // namespace warpload
