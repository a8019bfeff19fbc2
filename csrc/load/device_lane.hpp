// One load's lane to one device: a few copy streams that slots go out on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "device/backend.hpp"
#include "device/pinned_pool.hpp"
#include "load/copy_channels.hpp"
#include "plan/load_plan.hpp"

namespace warpload {

// Brings device memory for slots that wait for their casts. Throws OutOfMemoryError.
using StagingSource = std::function<std::shared_ptr<Segment>(std::uint64_t bytes)>;

// Threads: acquire, send, drain, finish, wait_for_caller and make_stream_wait may be called from any thread, the others
// before the first send. The destructor drains: what was sent has then left the slots and the arena alone.
class DeviceLane {
 public:
  // Leases its channels. Throws DeviceError.
  DeviceLane(std::shared_ptr<DeviceBackend> backend, std::shared_ptr<PinnedPool> pool,
             std::shared_ptr<CopyChannels> channels, unsigned channel_count);
  DeviceLane(const DeviceLane&) = delete;
  DeviceLane& operator=(const DeviceLane&) = delete;
  ~DeviceLane();

  // Gives every channel memory for casts, where it has none from an earlier load. What is sent afterwards has to
  // wait for the callers' streams: the memory may be such as they still use. Returns whether any was missing. Throws
  // what `source` throws.
  bool ensure_staging(const StagingSource& source);

  // Bytes a second that one slot's copy reaches; ensure_staging has been called.
  [[nodiscard]] double measure_link() const;

  // Throws what wait_for_caller would, and queues nothing.
  void check_caller(void* caller_stream) const;

  // What is sent from here on waits for what the caller has queued in that stream until now.
  void wait_for_caller(void* caller_stream);

  // A slot to fill; see PinnedPool::acquire.
  [[nodiscard]] std::optional<PinnedPool::Slot> acquire(const std::function<bool()>& stopping) const;

  // Queues the copy of a filled slot, whose bytes begin at `lead` in it, and its casts, to the segment that begins
  // at `segment`; the slot goes back to the pool with an event. Throws DeviceError; the slot is free of copies
  // then as well.
  void send(PinnedPool::Slot slot, std::size_t lead, const LoadPlan& plan, const Batch& batch, std::byte* segment);

  // Work that the caller queues in that stream from now on waits for all that has been sent until now.
  void make_stream_wait(void* caller_stream);

  // Waits until all that was sent is done. Throws the DeviceError of a copy that failed.
  void drain();

  // Waits as drain() does, after the last send, and frees the slots for other loads. Throws the DeviceError of a copy
  // that failed.
  void finish();

  [[nodiscard]] const std::shared_ptr<DeviceBackend>& backend() const noexcept { return backend_; }
  [[nodiscard]] PinnedPool& pool() const noexcept { return *pool_; }

 private:
  std::shared_ptr<DeviceBackend> backend_;
  std::shared_ptr<PinnedPool> pool_;
  std::shared_ptr<CopyChannels> owner_;
  CopyChannelList channels_;
  std::atomic<std::size_t> next_ = 0;
};

}  // namespace warpload
