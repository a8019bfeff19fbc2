// A bounded ring of pinned host buffers ("slots") that bytes pass through on their way to a device.
//
//    pinner --pins--> free <-------------------release-----------------+
//                      | acquire                                       |
//                      +------------> being filled --------------------+
//                      | acquire           | in_flight(event)
//                      |                   v
//                      +---event done--- in flight
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "device/backend.hpp"

namespace warpload {

struct PinnedPoolOptions {
  std::uint64_t limit_bytes = std::uint64_t{128} << 20;  // of all slots; at least one slot is made whatever it says
  std::uint64_t slot_bytes = std::uint64_t{4} << 20;
  std::uint64_t most_slots = UINT64_MAX;  // whatever the bytes allow
};

// Slots are pinned one after the other by a thread of the pool's own, ahead of need: drivers pin one range at a time,
// so several threads would only wait for each other, and a worker that pins fills no slot. The thread ends when the
// ring has what was asked for. Slots are kept for the next load. When pinning fails the ring stays as small as it is,
// and pageable slots serve where there is none at all; pinning_failure tells.
//
// No call of the device is made under the pool's lock: a driver may take long over any of them.
//
// All users belong to one pinning domain (DeviceBackend::pinning_domain). Threads: every member may be called from any
// thread. The destructor waits for what is in flight; no slot may be leased then.
class PinnedPool {
  struct Buffer;

 public:
  // A leased slot, free for writing. Its destructor releases it to the ring as free: only when no copy reads from it.
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

  // Has so many slots pinned, as far as the ring may have them, and does not wait for them.
  void reserve(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots);

  // Waits for a slot: a free one, else one whose copy has ended. `lane` is who asks, one load to one device:
  // it waits for the oldest copy of its own, and looks for the ends of others' only where it has none, so that a device
  // or a stream that is busy for long holds up nobody else. `backend` pins where the ring may grow. Nothing when
  // `stopping` becomes true meanwhile (looked at every 20 ms, and after each copy). Throws OutOfMemoryError when there
  // is no slot at all and no memory for one, DeviceError when a device does not say whether a copy of `lane` is done.
  [[nodiscard]] std::optional<Slot> acquire(const std::shared_ptr<DeviceBackend>& backend, const void* lane,
                                            const std::function<bool()>& stopping);

  // The slot is read by a copy of `lane` until `event` is done. Copies of one lane end in the order of these calls,
  // more or less.
  void in_flight(Slot slot, std::unique_ptr<Event> event, const void* lane);

  // All copies of that lane have been done: its slots are free.
  void landed(const void* lane) noexcept;

  // Unpins and frees what is not in use; returns the bytes. Waits for what is in flight and for the pinner.
  std::uint64_t release_unused();

  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return options_.slot_bytes; }
  [[nodiscard]] std::uint64_t pinned_bytes() const;  // of the slots that are pinned

  // Why memory could not be pinned, the first time that it could not; empty when it always could.
  [[nodiscard]] std::string pinning_failure() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Flight {
    std::unique_ptr<Buffer> buffer;
    std::unique_ptr<Event> event;
  };
  struct Route {
    std::deque<Flight> flights;   // oldest first
    std::uint64_t looked_at = 0;  // further ones, which somebody has taken out to ask for their end
  };

  class Looker;

  [[nodiscard]] std::unique_ptr<Buffer> take_landed(const void* lane, Looker& looker, Lock& lock);
  [[nodiscard]] bool looks_again(const void* lane, const Looker& looker) const noexcept;
  [[nodiscard]] std::unique_ptr<Buffer> take_oldest(const void* lane, bool wait, bool own, Lock& lock);
  [[nodiscard]] bool lacks_slots() const noexcept;
  void ask_for(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots, Lock& lock);
  void pin_until_satisfied(Lock& lock) noexcept;
  void pin_one(Lock& lock) noexcept;
  [[nodiscard]] std::unique_ptr<Buffer> make_buffer(const std::shared_ptr<DeviceBackend>& pinner, bool pageable);
  void note_failure(const std::exception_ptr& error) noexcept;
  [[nodiscard]] std::uint64_t slot_limit() const noexcept;
  void release(std::unique_ptr<Buffer> buffer) noexcept;

  PinnedPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable pinner_rests_;
  std::vector<std::unique_ptr<Buffer>> free_;
  std::map<const void*, Route> routes_;  // of lanes with copies under way
  bool somebody_looks_ = false;          // for ends of copies that nobody waits for
  std::vector<Flight> lost_;             // the device did not say whether they have landed: kept until the end
  std::uint64_t slots_ = 0;              // made or being made, but for those that are lost
  std::uint64_t pinned_ = 0;             // of them
  std::uint64_t wanted_ = 0;             // what the pinner works towards
  std::uint64_t most_slots_;
  bool pageable_ = false;  // pinning failed before there was any slot
  std::string failure_;
  std::exception_ptr no_memory_;  // there is not even a pageable slot

  std::shared_ptr<DeviceBackend> pinner_;
  std::thread thread_;
  bool pinning_ = false;  // somebody is at it, mostly the thread
};

}  // namespace warpload
