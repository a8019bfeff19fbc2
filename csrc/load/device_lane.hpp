// One load's way to one device: a few copy streams that slots go out on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device/backend.hpp"
#include "device/pinned_pool.hpp"
#include "plan/load_plan.hpp"

namespace warpload {

// Threads: send, drain and make_stream_wait may be called from any thread. The destructor drains: what was sent has
// then left the slots and the arena alone.
class DeviceLane {
 public:
  // `staging` is device memory of `stream_count` slots for casts on the device, or null where there are none. Throws
  // DeviceError.
  DeviceLane(std::shared_ptr<DeviceBackend> backend, std::shared_ptr<PinnedPool> pool, unsigned stream_count,
             std::shared_ptr<Segment> staging);
  DeviceLane(const DeviceLane&) = delete;
  DeviceLane& operator=(const DeviceLane&) = delete;
  ~DeviceLane();

  // What is sent from here on waits for what the caller has queued in that stream until now.
  void wait_for_caller(void* caller_stream);

  // Queues the copy of a filled slot, whose bytes begin at `lead` in it, and its casts, to the segment that begins at
  // `segment`; the slot goes back to the pool with an event. Throws DeviceError; the slot is free of copies then as
  // well.
  void send(PinnedPool::Slot slot, std::size_t lead, const LoadPlan& plan, const Batch& batch, std::byte* segment);

  // Work that the caller queues in that stream from now on waits for all that has been sent until now.
  void make_stream_wait(void* caller_stream);

  // Waits until all that was sent is done. Throws the DeviceError of a copy that failed.
  void drain();

  [[nodiscard]] const std::shared_ptr<DeviceBackend>& backend() const noexcept { return backend_; }
  [[nodiscard]] PinnedPool& pool() const noexcept { return *pool_; }

 private:
  // A stream that is one thread's at a time: copy, casts and event of a slot must not mix with another's.
  struct Channel {
    std::mutex mutex;
    std::unique_ptr<Stream> stream;
    std::byte* staging = nullptr;
  };

  std::shared_ptr<DeviceBackend> backend_;
  std::shared_ptr<PinnedPool> pool_;
  std::shared_ptr<Segment> staging_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::atomic<std::size_t> next_ = 0;
};

}  // namespace warpload
