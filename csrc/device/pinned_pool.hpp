// A bounded ring of pinned host buffers ("slots") that bytes pass through on their way to a device.
//
//        +-------- acquire: free first, then the oldest in flight, then a new one -----+
//        v                                                                             |
//   being filled --give_back--> free                                                   |
//        |                        ^                                                    |
//        +--in_flight(event)--> in flight --event done---------------------------------+
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/backend.hpp"

namespace warpload {

struct PinnedPoolOptions {
  std::uint64_t limit_bytes = std::uint64_t{256} << 20;  // of all slots; at least one slot is made whatever it says
  std::uint64_t slot_bytes = std::uint64_t{8} << 20;
};

// Slots are pinned one at a time by whoever needs one, so several workers pin in parallel and the first bytes need not
// wait for the last slot; they are kept for the next load. When pinning fails the ring stays as small as it is, and
// pageable slots serve where there is none at all; pinning_failure tells.
//
// All users belong to one pinning domain (DeviceBackend::pinning_domain). Threads: every member may be called from any
// thread. The destructor waits for what is in flight; no slot may be leased then.
class PinnedPool {
  struct Buffer;

 public:
  // A leased slot, free for writing. Dropping it gives it back as free: only when no copy reads from it.
  class Slot {
   public:
    Slot(Slot&& other) noexcept;
    Slot& operator=(Slot&&) = delete;
    ~Slot();
    [[nodiscard]] std::span<std::byte> bytes() const noexcept;

   private:
    friend class PinnedPool;
    Slot(PinnedPool& pool, std::unique_ptr<Buffer> buffer) noexcept;
    PinnedPool* pool_;
    std::unique_ptr<Buffer> buffer_;
  };

  explicit PinnedPool(PinnedPoolOptions options = {});
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;
  ~PinnedPool();

  // Waits for a slot; nothing when `stopping` becomes true meanwhile (looked at every 20 ms). `pinner` pins a new one.
  // Throws OutOfMemoryError when there is no slot at all and no memory for one, DeviceError when a device does not say
  // whether a copy is done.
  [[nodiscard]] std::optional<Slot> acquire(const std::shared_ptr<DeviceBackend>& pinner,
                                            const std::function<bool()>& stopping);

  // The slot is read by a copy until `event` is done.
  void in_flight(Slot slot, std::unique_ptr<Event> event);

  // Pins one slot ahead of need; false when the ring has all that it may have.
  bool grow(const std::shared_ptr<DeviceBackend>& pinner);

  // Unpins and frees what is not in use; returns the bytes. Waits for what is in flight.
  std::uint64_t release_unused();

  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return options_.slot_bytes; }
  [[nodiscard]] std::uint64_t bytes() const;         // of all slots
  [[nodiscard]] std::uint64_t pinned_bytes() const;  // of those that are pinned

  // Why memory could not be pinned, the first time that it could not; empty when it always could.
  [[nodiscard]] std::string pinning_failure() const;

 private:
  struct Flight {
    std::unique_ptr<Buffer> buffer;
    std::unique_ptr<Event> event;
  };

  [[nodiscard]] std::unique_ptr<Buffer> take_idle(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::unique_ptr<Buffer> make_counted(const std::shared_ptr<DeviceBackend>& pinner,
                                                     std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::unique_ptr<Buffer> make_buffer(const std::shared_ptr<DeviceBackend>& pinner, bool pageable);
  [[nodiscard]] bool may_grow() const noexcept;
  [[nodiscard]] std::uint64_t slot_limit() const noexcept;
  void give_back(std::unique_ptr<Buffer> buffer) noexcept;
  void note_failure(const std::string& reason) noexcept;

  PinnedPoolOptions options_;
  std::uint64_t most_slots_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Buffer>> free_;
  std::deque<Flight> flights_;  // oldest first
  std::vector<Flight> lost_;    // the device did not say whether they have landed: kept until the end
  std::uint64_t slots_ = 0;     // made or being made
  std::uint64_t pinned_ = 0;    // of them
  bool pageable_ = false;       // pinning failed before there was any slot
  std::string failure_;
};

}  // namespace warpload
