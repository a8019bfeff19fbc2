#include "device/pinned_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <iterator>
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
  if (buffer_) pool_->release(std::move(buffer_));
}
std::span<std::byte> PinnedPool::Slot::bytes() const noexcept { return buffer_->bytes(); }

PinnedPool::PinnedPool(PinnedPoolOptions options) : options_(options), most_slots_(slot_limit()) {}

PinnedPool::~PinnedPool() {
  release_unused();
  if (thread_.joinable()) thread_.join();
  // A device that did not answer before does not answer now, most likely: it is lost, and copies no more.
  for (const Flight& flight : lost_) static_cast<void>(wait_for(*flight.event));
}

// One waiter at a time looks for the ends of others' copies: each look is a call of the device.
class PinnedPool::Looker {
 public:
  explicit Looker(PinnedPool& pool) noexcept : pool_(pool) {}
  Looker(const Looker&) = delete;
  Looker& operator=(const Looker&) = delete;
  ~Looker() { rest(); }
  // The pool's lock is held, here and in the destructor.
  void rest() noexcept {
    if (!looks_) return;
    pool_.somebody_looks_ = looks_ = false;
    pool_.changed_.notify_one();  // to look in turn
  }
  [[nodiscard]] bool looks() const noexcept { return looks_; }
  [[nodiscard]] bool may_look() noexcept {
    if (!pool_.somebody_looks_) pool_.somebody_looks_ = looks_ = true;
    return looks_;
  }

 private:
  PinnedPool& pool_;
  bool looks_ = false;
};

// ---- slots in use ---------------------------------------------------------------------------------------------------

std::optional<PinnedPool::Slot> PinnedPool::acquire(const std::shared_ptr<DeviceBackend>& backend, const void* lane,
                                                    const std::function<bool()>& stopping) {
  Lock lock(mutex_);
  Looker looker(*this);
  bool asked = false;
  while (!stopping()) {
    if (!free_.empty()) {
      auto buffer = std::move(free_.back());
      free_.pop_back();
      return Slot(*this, std::move(buffer));
    }
    if (!pinning_) {
      if (asked && slots_ == 0 && no_memory_) std::rethrow_exception(no_memory_);
      ask_for(backend, slots_ + 1, lock);
      asked = true;
    }
    if (auto buffer = take_landed(lane, looker, lock)) return Slot(*this, std::move(buffer));
    if (!free_.empty()) continue;  // by now
    changed_.wait_for(lock, looks_again(lane, looker) ? kLookInterval : kStopInterval);
  }
  changed_.notify_one();  // what this one was woken for is for another
  return std::nullopt;
}

// A slot whose copy has ended; where nothing but a copy of its own can end, waits for that.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::take_landed(const void* lane, Looker& looker, Lock& lock) {
  if (routes_.contains(lane)) {
    looker.rest();  // its own copy may take long
    return take_oldest(lane, !pinning_, true, lock);
  }
  if (routes_.empty() || !looker.may_look()) return nullptr;
  std::vector<const void*> others;
  for (const auto& [other, route] : routes_) others.push_back(other);
  for (const void* other : others) {
    if (auto buffer = take_oldest(other, false, false, lock)) return buffer;
  }
  return nullptr;
}

// Whether there are copies whose end this one has to look for, as nobody is told of it.
bool PinnedPool::looks_again(const void* lane, const Looker& looker) const noexcept {
  const auto own = routes_.find(lane);
  return own == routes_.end() ? looker.looks() : !own->second.flights.empty();
}

// The slot of a lane's oldest copy once that has ended: waits for it, or only looks. Nothing where there is
// none by now.
std::unique_ptr<PinnedPool::Buffer> PinnedPool::take_oldest(const void* lane, bool wait, bool own, Lock& lock) {
  const auto found = routes_.find(lane);
  if (found == routes_.end() || found->second.flights.empty()) return nullptr;
  Route& route = found->second;  // stays while something of it is looked at
  Flight oldest = std::move(route.flights.front());
  route.flights.pop_front();
  ++route.looked_at;
  lock.unlock();
  bool landed = false;
  std::exception_ptr error;
  try {
    landed = !wait && oldest.event->done();
  } catch (const Error&) {
    wait = true;  // which ends, or tells why it cannot
  }
  try {
    if (wait) oldest.event->synchronize();
    landed |= wait;
  } catch (const Error&) {
    error = std::current_exception();
  }
  if (landed) oldest.event.reset();  // a call of the device's too
  lock.lock();
  --route.looked_at;
  if (!landed && !error) route.flights.push_front(std::move(oldest));
  if (route.flights.empty() && route.looked_at == 0) routes_.erase(lane);
  if (error) {
    --slots_;
    pinned_ -= oldest.buffer->pinner ? 1 : 0;
    lost_.push_back(std::move(oldest));
    if (own) std::rethrow_exception(error);
    return nullptr;
  }
  return std::move(oldest.buffer);
}

void PinnedPool::in_flight(Slot slot, std::unique_ptr<Event> event, const void* lane) {
  Flight flight{std::move(slot.buffer_), std::move(event)};
  try {
    const std::lock_guard lock(mutex_);
    routes_[lane].flights.push_back(std::move(flight));
    changed_.notify_one();
  } catch (...) {  // nothing was moved: the memory must not go while the copy reads it
    static_cast<void>(wait_for(*flight.event));
    throw;
  }
}

void PinnedPool::landed(const void* lane) noexcept {
  std::deque<Flight> flights;  // their events go without the lock
  const std::lock_guard lock(mutex_);
  const auto found = routes_.find(lane);
  if (found == routes_.end()) return;
  std::swap(flights, found->second.flights);
  for (Flight& flight : flights) free_.push_back(std::move(flight.buffer));
  if (found->second.looked_at == 0) routes_.erase(found);
  changed_.notify_all();
}

void PinnedPool::release(std::unique_ptr<Buffer> buffer) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(buffer));
  changed_.notify_one();
}

// ---- the pinner -----------------------------------------------------------------------------------------------------

void PinnedPool::reserve(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots) {
  Lock lock(mutex_);
  ask_for(pinner, slots, lock);
}

bool PinnedPool::lacks_slots() const noexcept { return slots_ < std::min(wanted_, most_slots_) && !no_memory_; }

void PinnedPool::ask_for(const std::shared_ptr<DeviceBackend>& pinner, std::uint64_t slots, Lock& lock) {
  wanted_ = std::max(wanted_, slots);
  if (pinning_) return;
  const std::exception_ptr before = std::exchange(no_memory_, nullptr);  // there may be some by now
  if (!lacks_slots()) {
    no_memory_ = before;
    return;
  }
  pinning_ = true;
  pinner_ = pinner;
  std::thread ended = std::exchange(thread_, {});
  lock.unlock();
  if (ended.joinable()) ended.join();
  lock.lock();
  try {
    thread_ = std::thread([this] {
      Lock own(mutex_);
      pin_until_satisfied(own);
    });
  } catch (const std::exception&) {  // no thread is to be had: whoever asks has to do it
    pin_until_satisfied(lock);
    lock.lock();
  }
}

// The lock is released at the end: with the last use of the device may go its context.
void PinnedPool::pin_until_satisfied(Lock& lock) noexcept {
  while (lacks_slots()) pin_one(lock);
  const std::shared_ptr<DeviceBackend> last_use = std::move(pinner_);
  pinning_ = false;
  changed_.notify_all();
  pinner_rests_.notify_all();
  lock.unlock();
}

// Makes a slot, or finds that the ring has to stay as it is. The lock is released meanwhile, as that
// takes a millisecond.
void PinnedPool::pin_one(Lock& lock) noexcept {
  ++slots_;
  const bool pageable = pageable_;
  std::unique_ptr<Buffer> buffer;
  std::exception_ptr error;
  try {
    free_.reserve(slots_);  // so that release cannot fail
    lock.unlock();
    buffer = make_buffer(pinner_, pageable);
  } catch (...) {
    error = std::current_exception();
  }
  if (!lock.owns_lock()) lock.lock();
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

void PinnedPool::note_failure(const std::exception_ptr& error) noexcept {
  if (!failure_.empty()) return;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& reason) {
    failure_ = reason.what();
  } catch (...) {
    failure_ = "memory could not be pinned";
  }
}

// ---- releasing ------------------------------------------------------------------------------------------------------

std::uint64_t PinnedPool::release_unused() {
  std::vector<std::unique_ptr<Buffer>> unused;
  std::vector<Flight> flights;
  {
    Lock lock(mutex_);
    wanted_ = 0;
    pinner_rests_.wait(lock, [this] { return !pinning_; });
    unused = std::exchange(free_, {});
    free_.reserve(slots_);
    for (auto route = routes_.begin(); route != routes_.end();) {
      auto& [lane, copies] = *route;
      std::move(copies.flights.begin(), copies.flights.end(), std::back_inserter(flights));
      copies.flights.clear();
      route = copies.looked_at == 0 ? routes_.erase(route) : std::next(route);
    }
  }
  std::vector<Flight> silent;
  for (Flight& flight : flights) {
    if (wait_for(*flight.event)) {
      unused.push_back(std::move(flight.buffer));
    } else {
      silent.push_back(std::move(flight));
    }
  }
  flights.clear();
  const std::uint64_t released = unused.size();
  std::uint64_t unpinned = 0;
  for (const auto& buffer : unused) unpinned += buffer->pinner ? 1 : 0;
  for (const Flight& flight : silent) unpinned += flight.buffer->pinner ? 1 : 0;
  unused.clear();
  // Only now does the ring have room for others.
  const std::lock_guard lock(mutex_);
  slots_ -= released + silent.size();
  pinned_ -= unpinned;
  std::move(silent.begin(), silent.end(), std::back_inserter(lost_));
  if (slots_ == 0) {  // the next load may try to pin again
    pageable_ = false;
    no_memory_ = nullptr;
    most_slots_ = slot_limit();
  }
  changed_.notify_all();
  return released * options_.slot_bytes;
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
