#include "device/pinned_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

#include "device/host_arena.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::chrono::milliseconds kStopInterval{20};
// How often the copies of several devices are looked at in turn: a slot's copy takes about as long.
constexpr std::chrono::microseconds kLookInterval{100};

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
  if (thread_.joinable()) thread_.join();
  // A device that did not answer before does not answer now, most likely: it is lost, and copies no more.
  for (const Flight& flight : lost_) static_cast<void>(wait_for(*flight.event));
}

// ---- slots in use ---------------------------------------------------------------------------------------------------

std::optional<PinnedPool::Slot> PinnedPool::acquire(const std::shared_ptr<DeviceBackend>& backend,
                                                    const std::function<bool()>& stopping) {
  Lock lock(mutex_);
  while (!stopping()) {
    std::unique_ptr<Buffer> buffer;
    if (!free_.empty()) {
      buffer = std::move(free_.back());
      free_.pop_back();
    } else {
      ask_for(backend, slots_ + 1, lock);
      buffer = take_landed(lock);
    }
    if (buffer) return Slot(*this, std::move(buffer));
    if (!free_.empty()) continue;  // by now
    if (slots_ == 0 && no_memory_) std::rethrow_exception(std::exchange(no_memory_, nullptr));
    if (may_land_unseen()) {
      changed_.wait_for(lock, kLookInterval);
    } else {  // every slot is being filled, pinned or waited for
      changed_.wait_for(lock, kStopInterval);
    }
  }
  return std::nullopt;
}

// A slot whose copy has ended. Where that is all there is to wait for, the next one to end: when no slot is being
// pinned, and copies go to one device only.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::take_landed(Lock& lock) {
  std::vector<Route*> busy;
  for (const auto& route : routes_) {
    if (!route->flights.empty()) busy.push_back(route.get());
  }
  const bool wait = busy.size() == 1 && !pinning_;
  for (Route* route : busy) {
    if (route->flights.empty()) continue;  // by now
    if (auto buffer = take_oldest_landed(*route, wait, lock)) return buffer;
  }
  return nullptr;
}

// The slot of the route's oldest copy once that has ended: waits for it, or only looks.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::take_oldest_landed(Route& route, bool wait, Lock& lock) {
  Flight oldest = std::move(route.flights.front());
  route.flights.pop_front();
  lock.unlock();
  bool landed = true;
  std::exception_ptr error;
  try {
    if (wait) {
      oldest.event->synchronize();
    } else {
      landed = is_done(*oldest.event);
    }
  } catch (const Error&) {
    error = std::current_exception();
  }
  if (landed && !error) oldest.event.reset();  // a call of the device's too
  lock.lock();
  if (error) {
    lost_.push_back(std::move(oldest));
    std::rethrow_exception(error);
  }
  if (!landed) route.flights.push_front(std::move(oldest));
  return std::move(oldest.buffer);
}

// Whether copies are under way whose end nobody waits for: it has to be looked for.
bool PinnedPool::may_land_unseen() const noexcept {
  return std::any_of(routes_.begin(), routes_.end(), [](const auto& route) { return !route->flights.empty(); });
}

PinnedPool::Route& PinnedPool::route_to(DeviceId device) {
  const auto found =
      std::find_if(routes_.begin(), routes_.end(), [&](const auto& route) { return route->device == device; });
  if (found != routes_.end()) return **found;
  return *routes_.emplace_back(std::make_unique<Route>(Route{device, {}}));
}

void PinnedPool::in_flight(Slot slot, std::unique_ptr<Event> event, DeviceId device) {
  Flight flight{std::move(slot.buffer_), std::move(event)};
  try {
    const std::lock_guard lock(mutex_);
    route_to(device).flights.push_back(std::move(flight));
    changed_.notify_one();
  } catch (...) {  // nothing was moved: the memory must not go while the copy reads it
    static_cast<void>(wait_for(*flight.event));
    throw;
  }
}

void PinnedPool::give_back(std::unique_ptr<Buffer> buffer) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
  changed_.notify_one();
}

// ---- the pinner -----------------------------------------------------------------------------------------------------

void PinnedPool::reserve(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots) {
  Lock lock(mutex_);
  ask_for(pinner, slots, lock);
}

void PinnedPool::ask_for(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots, Lock& lock) {
  wanted_ = std::max(wanted_, std::min(slots, most_slots_));
  if (wanted_ <= slots_ || pinning_) return;
  pinner_ = pinner;
  pinning_ = true;
  if (thread_.joinable()) thread_.join();  // it has seen to everything and only has to return
  try {
    thread_ = std::thread([this] { run_pinner(); });
  } catch (const std::system_error&) {  // no thread is to be had: whoever asks has to do it
    pin_until_satisfied(lock);
  }
}

void PinnedPool::run_pinner() noexcept {
  std::shared_ptr<DeviceBackend> last_use;  // goes without the lock: with it may go the device's context
  Lock lock(mutex_);
  pin_until_satisfied(lock);
  std::swap(last_use, pinner_);
  lock.unlock();
}

void PinnedPool::pin_until_satisfied(Lock& lock) noexcept {
  while (slots_ < std::min(wanted_, most_slots_) && !no_memory_) pin_one(lock);
  pinning_ = false;
  changed_.notify_all();
}

// Makes a slot, or finds that the ring has to stay as it is. The lock is released meanwhile, as that takes a
// millisecond.
void PinnedPool::pin_one(Lock& lock) noexcept {
  ++slots_;
  const bool pageable = pageable_;
  lock.unlock();
  std::unique_ptr<Buffer> buffer;
  std::exception_ptr error;
  try {
    buffer = make_buffer(pinner_, pageable);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  try {
    if (buffer) free_.reserve(slots_);  // so that giving back cannot fail
  } catch (...) {
    buffer.reset();
    error = std::current_exception();
  }
  if (buffer) {
    if (buffer->pinner) ++pinned_;
    free_.push_back(std::move(buffer));
    changed_.notify_one();
    return;
  }
  --slots_;
  note_failure(error);
  if (slots_ > 0) {
    most_slots_ = slots_;
  } else if (pageable) {
    no_memory_ = error;
  } else {
    pageable_ = true;
  }
}

std::unique_ptr<PinnedPool::Buffer> PinnedPool::make_buffer(const std::shared_ptr<DeviceBackend>& pinner,
                                                            bool pageable) {
  const std::array<std::uint64_t, 1> size{options_.slot_bytes};
  std::shared_ptr<Segment> memory = reserve_host_arena(size)[0];
  const std::span<std::byte> bytes{memory->data(), static_cast<std::size_t>(memory->bytes())};
  std::memset(bytes.data(), 0, bytes.size());  // backs the pages here, in huge ones, and not one by one in the driver
  if (pageable) return std::make_unique<Buffer>(std::move(memory), nullptr);
  // A child after fork has no use for it, and the kernel would copy pinned pages for it at once.
  ::madvise(bytes.data(), bytes.size(), MADV_DONTFORK);
  pinner->pin(bytes);
  return std::make_unique<Buffer>(std::move(memory), pinner);
}

void PinnedPool::note_failure(std::exception_ptr error) noexcept {
  if (!failure_.empty()) return;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& reason) {
    failure_ = reason.what();
  } catch (...) {
    failure_ = "memory could not be pinned";
  }
}

// ---- giving back ----------------------------------------------------------------------------------------------------

std::uint64_t PinnedPool::release_unused() {
  std::vector<std::unique_ptr<Buffer>> unused;
  std::vector<Flight> flights;
  {
    Lock lock(mutex_);
    wanted_ = 0;
    changed_.wait(lock, [this] { return !pinning_; });
    unused = std::exchange(free_, {});
    for (const auto& route : routes_) {
      std::move(route->flights.begin(), route->flights.end(), std::back_inserter(flights));
      route->flights.clear();
    }
    slots_ -= unused.size() + flights.size();
    for (const auto& buffer : unused) pinned_ -= buffer->pinner ? 1 : 0;
    for (const Flight& flight : flights) pinned_ -= flight.buffer->pinner ? 1 : 0;
    free_.reserve(slots_);
    if (slots_ == 0) {  // the next load may try to pin again
      pageable_ = false;
      no_memory_ = nullptr;
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

std::uint64_t PinnedPool::slot_limit() const noexcept {
  return std::max<std::uint64_t>(std::min(options_.limit_bytes / options_.slot_bytes, options_.most_slots), 1);
}

}  // namespace warpload
