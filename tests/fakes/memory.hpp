// The fake's device memory and its registered host memory. All functions: the caller holds the lock.
#pragma once

#include <cstddef>
#include <memory>

#include "fakes/state.hpp"

namespace warpload::testing::fake {

// Maps `bytes` of garbage and enters them in the tables; null where the machine itself has no memory.
std::shared_ptr<Allocation> allocate(State& state, const std::shared_ptr<Context>& context, std::size_t bytes);

// Unmaps the memory and keeps its addresses reserved.
void release(State& state, const std::shared_ptr<Allocation>& allocation);

// Returns the addresses of all freed memory to the system. No allocation may be live.
void release_freed(State& state);

// The live allocation that holds the whole range, or null.
std::shared_ptr<Allocation> find_allocation(const State& state, DevicePointer address, std::size_t bytes);

enum class HostKind { kPageable, kRegistered, kAcrossABorder };

struct HostLookup {
  HostKind kind = HostKind::kPageable;
  std::shared_ptr<HostRange> range = {};  // of kRegistered
};

// How the driver sees a range of host memory; one that is registered in part, or in two parts, is of no use to it.
HostLookup look_up_host(const State& state, const void* address, std::size_t bytes);

}  // namespace warpload::testing::fake
