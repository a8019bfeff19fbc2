#include "device/pinned_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

#include "device/host_arena.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::chrono::milliseconds kStopInterval{20};

// False when the device does not say: the slot may still be read.
bool wait_for(Event& event) noexcept {
  try {
    event.synchronize();
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool is_done(Event& event) noexcept {
  try {
    return event.done();
  } catch (const Error&) {
    return false;  // whoever waits for it gets the error
  }
}

}  // namespace

// One slot's memory: in huge pages, which are pinned many times faster than small ones.
struct PinnedPool::Buffer {
  Buffer(std::shared_ptr<Segment> host, std::shared_ptr<DeviceBackend> pinned_by) noexcept
      : memory(std::move(host)), pinner(std::move(pinned_by)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (pinner) pinner->unpin(bytes());
  }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept {
    return {memory->data(), static_cast<std::size_t>(memory->bytes())};
  }

  std::shared_ptr<Segment> memory;
  std::shared_ptr<DeviceBackend> pinner;  // null when the memory is pageable
};

PinnedPool::Slot::Slot(PinnedPool& pool, std::unique_ptr<Buffer> buffer) noexcept
    : pool_(&pool), buffer_(std::move(buffer)) {}
PinnedPool::Slot::Slot(Slot&& other) noexcept = default;
PinnedPool::Slot::~Slot() {
  if (buffer_) pool_->give_back(std::move(buffer_));
}
std::span<std::byte> PinnedPool::Slot::bytes() const noexcept { return buffer_->bytes(); }

PinnedPool::PinnedPool(PinnedPoolOptions options) : options_(options), most_slots_(slot_limit()) {}

PinnedPool::~PinnedPool() {
  release_unused();
  // A device that did not answer before does not answer now, most likely: it is lost, and copies no more.
  for (const Flight& flight : lost_) static_cast<void>(wait_for(*flight.event));
}

std::optional<PinnedPool::Slot> PinnedPool::acquire(const std::shared_ptr<DeviceBackend>& pinner,
                                                    const std::function<bool()>& stopping) {
  std::unique_lock lock(mutex_);
  while (!stopping()) {
    auto buffer = take_idle(lock);
    if (!buffer && may_grow()) buffer = make_counted(pinner, lock);
    if (buffer) return Slot(*this, std::move(buffer));
    if (!flights_.empty()) {
      Flight oldest = std::move(flights_.front());
      flights_.pop_front();
      lock.unlock();
      try {
        oldest.event->synchronize();
      } catch (const Error&) {
        lock.lock();
        lost_.push_back(std::move(oldest));
        throw;
      }
      return Slot(*this, std::move(oldest.buffer));
    }
    changed_.wait_for(lock, kStopInterval);  // every slot is being filled
  }
  return std::nullopt;
}

void PinnedPool::in_flight(Slot slot, std::unique_ptr<Event> event) {
  Flight flight{std::move(slot.buffer_), std::move(event)};
  const std::lock_guard lock(mutex_);
  try {
    flights_.push_back(std::move(flight));
  } catch (...) {  // nothing was moved: the memory must not go while the copy reads it
    static_cast<void>(wait_for(*flight.event));
    throw;
  }
  changed_.notify_one();
}

bool PinnedPool::grow(const std::shared_ptr<DeviceBackend>& pinner) {
  std::unique_lock lock(mutex_);
  if (!may_grow()) return false;
  auto buffer = make_counted(pinner, lock);
  if (!buffer) return false;
  free_.push_back(std::move(buffer));
  changed_.notify_one();
  return true;
}

std::uint64_t PinnedPool::release_unused() {
  std::vector<std::unique_ptr<Buffer>> unused;
  std::deque<Flight> flights;
  {
    const std::lock_guard lock(mutex_);
    unused = std::exchange(free_, {});
    flights = std::move(flights_);
    flights_.clear();
    slots_ -= unused.size() + flights.size();
    for (const auto& buffer : unused) pinned_ -= buffer->pinner ? 1 : 0;
    for (const Flight& flight : flights) pinned_ -= flight.buffer->pinner ? 1 : 0;
    free_.reserve(slots_);
    if (slots_ == 0) {  // the next load may try to pin again
      pageable_ = false;
      most_slots_ = slot_limit();
    }
  }
  std::uint64_t released = unused.size();
  for (Flight& flight : flights) {
    if (wait_for(*flight.event)) {
      ++released;
      continue;
    }
    const std::lock_guard lock(mutex_);
    ++slots_;
    pinned_ += flight.buffer->pinner ? 1 : 0;
    lost_.push_back(std::move(flight));
  }
  changed_.notify_all();
  return released * options_.slot_bytes;
}

std::uint64_t PinnedPool::bytes() const {
  const std::lock_guard lock(mutex_);
  return slots_ * options_.slot_bytes;
}

std::uint64_t PinnedPool::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  return pinned_ * options_.slot_bytes;
}

std::string PinnedPool::pinning_failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

// A slot that nobody reads or writes, without waiting.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::take_idle(std::unique_lock<std::mutex>&) {
  std::unique_ptr<Buffer> buffer;
  if (!free_.empty()) {
    buffer = std::move(free_.back());
    free_.pop_back();
  } else if (!flights_.empty() && is_done(*flights_.front().event)) {
    buffer = std::move(flights_.front().buffer);
    flights_.pop_front();
  }
  return buffer;
}

bool PinnedPool::may_grow() const noexcept { return slots_ < most_slots_; }

std::uint64_t PinnedPool::slot_limit() const noexcept {
  return std::max<std::uint64_t>(options_.limit_bytes / options_.slot_bytes, 1);
}

// Makes a slot with the lock released, as that takes a millisecond or more; nothing when pinning failed and there are
// others. The caller holds the lock again afterwards.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::make_counted(const std::shared_ptr<DeviceBackend>& pinner,
                                                             std::unique_lock<std::mutex>& lock) {
  ++slots_;
  const bool pageable = pageable_;
  lock.unlock();
  std::unique_ptr<Buffer> buffer;
  std::string reason;
  std::exception_ptr no_memory;
  try {
    buffer = make_buffer(pinner, pageable);
  } catch (const std::exception& error) {
    reason = error.what();
    no_memory = std::current_exception();
  }
  lock.lock();
  if (buffer) {
    free_.reserve(slots_);  // so that giving back cannot fail
    if (buffer->pinner) ++pinned_;
    return buffer;
  }
  --slots_;
  note_failure(reason);
  if (slots_ > 0) {
    most_slots_ = slots_;
    return nullptr;
  }
  if (pageable) std::rethrow_exception(no_memory);
  pageable_ = true;
  most_slots_ = slot_limit();
  return make_counted(pinner, lock);
}

std::unique_ptr<PinnedPool::Buffer> PinnedPool::make_buffer(const std::shared_ptr<DeviceBackend>& pinner,
                                                            bool pageable) {
  const std::array<std::uint64_t, 1> size{options_.slot_bytes};
  std::shared_ptr<Segment> memory = reserve_host_arena(size)[0];
  const std::span<std::byte> bytes{memory->data(), static_cast<std::size_t>(memory->bytes())};
  std::memset(bytes.data(), 0, bytes.size());  // backs the pages here, in parallel, and not one by one in the driver
  if (pageable) return std::make_unique<Buffer>(std::move(memory), nullptr);
  // A child after fork has no use for it, and the kernel would copy pinned pages for it at once.
  ::madvise(bytes.data(), bytes.size(), MADV_DONTFORK);
  pinner->pin(bytes);
  return std::make_unique<Buffer>(std::move(memory), pinner);
}

void PinnedPool::give_back(std::unique_ptr<Buffer> buffer) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
  changed_.notify_one();
}

void PinnedPool::note_failure(const std::string& reason) noexcept {
  if (failure_.empty()) failure_ = reason;
}

}  // namespace warpload
