// Calls about device memory, registered host memory and copies between the two.
#include <cstring>
#include <utility>
#include <vector>

#include "fakes/call.hpp"
#include "fakes/capture.hpp"
#include "fakes/memory.hpp"
#include "fakes/modelled.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {
namespace {

// Both ends of a copy as the driver sees them.
struct CopyEnds {
  Result result = cuda::kSuccess;
  std::shared_ptr<Stream> stream = {};
  std::shared_ptr<Allocation> allocation = {};
  std::byte* memory = nullptr;  // the device's end
  HostLookup host = {};
};

CopyEnds look_up(Call& call, DevicePointer device, const void* host, std::size_t bytes, StreamHandle stream) {
  CopyEnds ends;
  ends.stream = call.stream(stream);
  if (!ends.stream) {
    ends.result = cuda::kInvalidHandle;
    return ends;
  }
  ends.allocation = find_allocation(call.state, device, bytes);
  ends.host = look_up_host(call.state, host, bytes);
  if (!ends.allocation) {
    ends.result = call.fault("the device's range is not inside one live allocation", cuda::kInvalidValue);
  } else if (ends.allocation->context != call.context) {
    ends.result = call.fault("the device memory is of another context", cuda::kInvalidValue);
  } else if (host == nullptr) {
    ends.result = call.fault("no host memory is given", cuda::kInvalidValue);
  } else if (ends.host.kind == HostKind::kAcrossABorder) {
    ends.result = call.fault("the host's range crosses the border of a registered one", cuda::kInvalidValue);
  } else {
    ends.memory = ends.allocation->memory + (device - ends.allocation->begin);
    if (ends.host.kind == HostKind::kPageable) {  // the call may wait for the stream
      ++call.state.counters.pageable_copies;
      ends.result = refuse_waiting_for(*ends.stream).value_or(refuse_unsafe(call.state).value_or(cuda::kSuccess));
    }
  }
  return ends;
}

std::shared_ptr<Operation> operation_on(const CopyEnds& ends) {
  auto operation = std::make_shared<Operation>();
  operation->uses.push_back(ends.allocation);
  if (ends.host.range) operation->uses.push_back(ends.host.range);
  return operation;
}

Result copy_to_device(Call& call, DevicePointer destination, const void* source, std::size_t bytes,
                      StreamHandle stream) {
  if (bytes == 0) return cuda::kSuccess;
  const CopyEnds ends = look_up(call, destination, source, bytes, stream);
  if (ends.result != cuda::kSuccess) return ends.result;
  auto operation = operation_on(ends);
  operation->link_bytes = bytes;
  if (call.state.options.model) {
    // There is no memory behind the addresses.
  } else if (ends.host.kind == HostKind::kRegistered) {
    operation->work = [memory = ends.memory, source, bytes] {
      std::memcpy(memory, source, bytes);
      return cuda::kSuccess;
    };
  } else {  // read now, as the real driver does through a buffer of its own
    call.guard.shown([&] {
      const auto* begin = static_cast<const std::byte*>(source);
      operation->work = [memory = ends.memory, staged = std::vector<std::byte>(begin, begin + bytes)] {
        std::memcpy(memory, staged.data(), staged.size());
        return cuda::kSuccess;
      };
    });
  }
  enqueue(call.state, call.guard, *ends.stream, std::move(operation));
  ++call.state.counters.copies_to_device;
  call.state.counters.bytes_to_device += bytes;
  return cuda::kSuccess;
}

Result copy_to_host(Call& call, void* destination, DevicePointer source, std::size_t bytes, StreamHandle stream) {
  if (bytes == 0) return cuda::kSuccess;
  const CopyEnds ends = look_up(call, source, destination, bytes, stream);
  if (ends.result != cuda::kSuccess) return ends.result;
  auto operation = operation_on(ends);
  operation->link_bytes = bytes;
  operation->work = [destination, memory = ends.memory, bytes] {
    std::memcpy(destination, memory, bytes);
    return cuda::kSuccess;
  };
  const auto done = std::make_shared<Record>();
  operation->completes = done;
  enqueue(call.state, call.guard, *ends.stream, std::move(operation));
  ++call.state.counters.copies_to_host;
  call.state.counters.bytes_to_host += bytes;
  if (ends.host.kind == HostKind::kRegistered) return cuda::kSuccess;
  wait_for_record(call.state, call.guard, done);
  return call.context->broken;
}

std::uint64_t registered_bytes(const State& state) {
  std::uint64_t total = 0;
  for (const auto& [begin, range] : state.host_ranges) total += range->bytes;
  return total;
}

}  // namespace
}  // namespace warpload::testing::fake

using namespace warpload::testing::fake;  // NOLINT: the calls are global, as a driver's are
namespace cuda = warpload::cuda;

extern "C" {

Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return run_call("cuMemGetInfo_v2", Needs::kContext, {}, [&](Call& call) {
    const Device& device = call.state.devices[static_cast<std::size_t>(call.context->device)];
    *total = call.state.options.device_bytes;
    *free = call.state.options.device_bytes - device.allocated;
    return cuda::kSuccess;
  });
}

Result cuMemAlloc_v2(DevicePointer* pointer, std::size_t bytes) {
  return run_call("cuMemAlloc_v2", Needs::kContext, {0, bytes}, [&](Call& call) {
    if (pointer == nullptr || bytes == 0) return cuda::kInvalidValue;
    const Device& device = call.state.devices[static_cast<std::size_t>(call.context->device)];
    if (bytes > call.state.options.device_bytes - device.allocated) return cuda::kOutOfMemory;
    const auto allocation = allocate(call.state, call.context, bytes);
    if (!allocation) return cuda::kOutOfMemory;
    *pointer = allocation->begin;
    return cuda::kSuccess;
  });
}

Result cuMemFree_v2(DevicePointer pointer) {
  return run_call("cuMemFree_v2", Needs::kContextToFree, {pointer, 0}, [&](Call& call) {
    if (pointer == 0) return cuda::kSuccess;
    const auto allocation = find(call.state.allocations, pointer);
    if (!allocation) {
      const bool twice = call.state.freed.contains(pointer);
      return call.fault(twice ? "the memory was freed before" : "no allocation begins here", cuda::kInvalidValue);
    }
    if (allocation->queued > 0) return call.fault("queued work still uses the memory", cuda::kInvalidValue);
    release(call.state, allocation);
    return cuda::kSuccess;
  });
}

Result cuMemHostRegister_v2(void* memory, std::size_t bytes, unsigned flags) {
  const About subject{reinterpret_cast<std::uintptr_t>(memory), bytes};
  return run_call("cuMemHostRegister_v2", Needs::kContext, subject, [&](Call& call) {
    State& state = call.state;
    if (memory == nullptr || bytes == 0 || (flags & ~cuda::kHostRegisterPortable) != 0) return cuda::kInvalidValue;
    if (look_up_host(state, memory, bytes).kind != HostKind::kPageable) return cuda::kHostMemoryAlreadyRegistered;
    const std::uint64_t registered = registered_bytes(state);
    if (registered > state.options.registered_limit || bytes > state.options.registered_limit - registered) {
      return cuda::kOutOfMemory;
    }
    auto range = std::make_shared<HostRange>();
    range->context = call.context;
    range->begin = reinterpret_cast<std::uintptr_t>(memory);
    range->bytes = bytes;
    state.host_ranges.emplace(range->begin, range);
    if (state.options.model) spend_on_registration(state, call.guard, bytes);
    return cuda::kSuccess;
  });
}

Result cuMemHostUnregister(void* memory) {
  const About subject{reinterpret_cast<std::uintptr_t>(memory), 0};
  return run_call("cuMemHostUnregister", Needs::kContextToFree, subject, [&](Call& call) {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    const auto range = find(call.state.host_ranges, begin);
    if (!range) return call.fault("no registered range begins here", cuda::kHostMemoryNotRegistered);
    if (range->queued > 0) return call.fault("queued copies still use the range", cuda::kInvalidValue);
    call.state.host_ranges.erase(begin);
    return cuda::kSuccess;
  });
}

Result cuMemcpyHtoDAsync_v2(DevicePointer destination, const void* source, std::size_t bytes, StreamHandle stream) {
  return run_call("cuMemcpyHtoDAsync_v2", Needs::kContext, about(stream, bytes),
                  [&](Call& call) { return copy_to_device(call, destination, source, bytes, stream); });
}

Result cuMemcpyDtoHAsync_v2(void* destination, DevicePointer source, std::size_t bytes, StreamHandle stream) {
  return run_call("cuMemcpyDtoHAsync_v2", Needs::kContext, about(stream, bytes),
                  [&](Call& call) { return copy_to_host(call, destination, source, bytes, stream); });
}

}  // extern "C"
