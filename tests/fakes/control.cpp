// The interface for tests.
#include <algorithm>
#include <utility>

#include "fakes/fake_cuda.hpp"
#include "fakes/memory.hpp"
#include "fakes/state.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing {

using fake::Guard;
using fake::State;

namespace {

void clear(State& state) {
  while (!state.allocations.empty()) {
    const auto allocation = state.allocations.begin()->second;
    fake::release(state, allocation);
  }
  fake::release_freed(state);
  state.host_ranges.clear();
  state.events.clear();
  state.functions.clear();
  state.modules.clear();
  state.captures.clear();
  state.capture_modes.clear();
  state.contexts.clear();
  state.journal.clear();
  state.faults.clear();
  state.counters = {};
  state.link = {};
  state.link_free = {};
  state.call_injections.clear();
  state.execution_injections.clear();
}

}  // namespace

void reset(const FakeOptions& options) {
  State& state = fake::state();
  fake::join_all_streams(state);
  const Guard guard(state.mutex);
  clear(state);
  state.options = options;
  state.devices.assign(static_cast<std::size_t>(options.devices), {});
  state.initialized = state.paused = state.discarding = false;
  ++state.generation;
}

void warpload_fake_cuda_reset() { reset(); }

void fail_call(std::string_view name, std::uint64_t nth, cuda::Result result, FailureSpan span) {
  State& state = fake::state();
  const Guard guard(state.mutex);
  state.call_injections.push_back({std::string(name), nth, result, span});
}

void fail_execution(std::uint64_t nth, cuda::Result result) {
  State& state = fake::state();
  const Guard guard(state.mutex);
  state.execution_injections.push_back({std::string(fake::kAnyExecution), nth, result, FailureSpan::kOnce});
}

void pause_streams() {
  State& state = fake::state();
  Guard guard(state.mutex);
  state.paused = true;
  guard.wait(state.changed, [&] { return state.executing == 0; });
}

void resume_streams() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  state.paused = false;
  state.changed.notify_all();
}

std::vector<FakeCall> journal() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return state.journal;
}

std::uint64_t call_count(std::string_view name) {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return static_cast<std::uint64_t>(std::count_if(state.journal.begin(), state.journal.end(),
                                                  [name](const FakeCall& call) { return call.name == name; }));
}

FakeCounters counters() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return state.counters;
}

FakeLink take_link() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return std::exchange(state.link, {});
}

FakeLive live() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  FakeLive result;
  result.allocations = state.allocations.size();
  result.registered_ranges = state.host_ranges.size();
  result.streams = state.streams.size();
  result.events = state.events.size();
  result.modules = state.modules.size();
  for (const auto& [begin, allocation] : state.allocations) result.allocated_bytes += allocation->bytes;
  for (const auto& [begin, range] : state.host_ranges) result.registered_bytes += range->bytes;
  for (const auto& device : state.devices) {
    result.peak_bytes.push_back(device.peak);
    if (device.context) result.context_references += device.context->references;
  }
  return result;
}

std::vector<std::string> faults() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return state.faults;
}

std::size_t context_depth() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return fake::context_stack(state).size();
}

std::vector<std::byte> device_bytes(cuda::DevicePointer address, std::size_t bytes) {
  State& state = fake::state();
  const Guard guard(state.mutex);
  const auto allocation = fake::find_allocation(state, address, bytes);
  if (!allocation) {
    state.fault("device_bytes: the range is not inside one live allocation", cuda::kInvalidValue);
    return {};
  }
  const std::byte* begin = allocation->memory + (address - allocation->begin);
  return {begin, begin + bytes};
}

}  // namespace warpload::testing
