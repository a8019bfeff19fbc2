#include "warpload/arena.hpp"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "warpload/error.hpp"

namespace warpload {

struct Arena::State {
  std::byte* begin;
  std::uint64_t bytes;
  Device device;
  std::shared_ptr<void> owner;
  std::mutex mutex = {};
  std::uint64_t taken = 0;  // a multiple of kTensorAlignment, or all

  // Where the memory behind such a part begins.
  [[nodiscard]] std::uint64_t end_of(std::uint64_t offset, std::uint64_t part) const noexcept {
    const std::uint64_t padding = (kTensorAlignment - part % kTensorAlignment) % kTensorAlignment;
    const std::uint64_t end = offset + part;
    return end + std::min(padding, bytes - end);
  }
};

Arena::Arena(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

Arena Arena::adopt(void* pointer, std::uint64_t bytes, const Device& device, std::shared_ptr<void> owner) {
  const bool missing = pointer == nullptr && bytes != 0;
  if (missing || reinterpret_cast<std::uintptr_t>(pointer) % kTensorAlignment != 0) {
    throw InvalidArgumentError(
        {.reason = "the memory of an arena does not begin at a multiple of 256 bytes",
         .cure = "allocate it with std::aligned_alloc(256, ...), or by the GPU's own allocator"});
  }
  return Arena(std::shared_ptr<State>(new State{static_cast<std::byte*>(pointer), bytes, device, std::move(owner)}));
}

const Device& Arena::device() const noexcept { return state_->device; }
std::uint64_t Arena::bytes() const noexcept { return state_->bytes; }

std::uint64_t Arena::bytes_taken() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->taken;
}

std::byte* Arena::take(std::uint64_t bytes) const {
  const std::lock_guard lock(state_->mutex);
  const std::uint64_t left = state_->bytes - state_->taken;
  if (bytes > left) {
    throw OutOfMemoryError({.reason = state_->device.name() + ": a segment of " + std::to_string(bytes) +
                                      " bytes does not fit; " + std::to_string(left) + " of the arena's " +
                                      std::to_string(state_->bytes) + " bytes are left",
                            .cure = "arena_bytes tells how large it has to be"});
  }
  std::byte* const begin = state_->begin + state_->taken;
  state_->taken = state_->end_of(state_->taken, bytes);
  return begin;
}

bool Arena::release(const std::byte* begin, std::uint64_t bytes) const noexcept {
  const std::lock_guard lock(state_->mutex);
  const auto offset = static_cast<std::uint64_t>(begin - state_->begin);
  if (state_->end_of(offset, bytes) != state_->taken) return false;
  state_->taken = offset;
  return true;
}

}  // namespace warpload
