#include "fakes/memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/unique_fd.hpp"

namespace warpload::testing::fake {
namespace {

constexpr int kGarbage = 0xA5;

std::size_t mapped_size(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

void* address_of(DevicePointer pointer) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(pointer)); }

// Addresses without memory.
void* reserve(std::size_t size, void* at = nullptr) {
  const int fixed = at == nullptr ? 0 : MAP_FIXED;
  return ::mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

std::shared_ptr<Allocation> enter(State& state, const std::shared_ptr<Context>& context, void* outer, std::byte* memory,
                                  std::size_t bytes) {
  auto allocation = std::make_shared<Allocation>();
  allocation->context = context;
  allocation->begin = reinterpret_cast<std::uintptr_t>(outer);
  allocation->bytes = bytes;
  allocation->memory = memory;
  Device& device = state.devices[static_cast<std::size_t>(context->device)];
  device.allocated += bytes;
  device.peak = std::max(device.peak, device.allocated);
  state.allocations.emplace(allocation->begin, allocation);
  return allocation;
}

}  // namespace

std::shared_ptr<Allocation> allocate(State& state, const std::shared_ptr<Context>& context, std::size_t bytes) {
  const std::size_t size = mapped_size(bytes);
  if (state.options.model) {
    void* const addresses = reserve(size);
    return addresses == MAP_FAILED ? nullptr : enter(state, context, addresses, nullptr, bytes);
  }
  const UniqueFd file(::memfd_create("fake device memory", MFD_CLOEXEC));
  if (file.get() < 0 || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return nullptr;
  void* outer = ::mmap(nullptr, size, PROT_NONE, MAP_SHARED, file.get(), 0);
  if (outer == MAP_FAILED) {
    ::munmap(memory, size);
    return nullptr;
  }
  std::memset(memory, kGarbage, size);
  return enter(state, context, outer, static_cast<std::byte*>(memory), bytes);
}

void release(State& state, const std::shared_ptr<Allocation>& allocation) {
  const std::size_t size = mapped_size(allocation->bytes);
  if (allocation->memory != nullptr) ::munmap(allocation->memory, size);
  // In place of the memory: nothing, at the same addresses.
  reserve(size, address_of(allocation->begin));
  state.freed.emplace(allocation->begin, size);
  state.devices[static_cast<std::size_t>(allocation->context->device)].allocated -= allocation->bytes;
  state.allocations.erase(allocation->begin);
}

void release_freed(State& state) {
  for (const auto& [begin, size] : state.freed) ::munmap(address_of(begin), size);
  state.freed.clear();
}

std::shared_ptr<Allocation> find_allocation(const State& state, DevicePointer address, std::size_t bytes) {
  auto next = state.allocations.upper_bound(address);
  if (next == state.allocations.begin()) return nullptr;
  const auto& allocation = std::prev(next)->second;
  const DevicePointer offset = address - allocation->begin;
  return offset <= allocation->bytes && bytes <= allocation->bytes - offset ? allocation : nullptr;
}

HostLookup look_up_host(const State& state, const void* address, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  for (const auto& [start, range] : state.host_ranges) {
    const std::uintptr_t end = start + range->bytes;
    if (begin >= end || start >= begin + bytes) continue;
    const bool inside = begin >= start && bytes <= end - begin;
    if (inside) return {HostKind::kRegistered, range};
    return {HostKind::kAcrossABorder};
  }
  return {};
}

}  // namespace warpload::testing::fake
