// Everything that the fake driver knows. One instance a process, as there is one driver.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "fakes/fake_cuda.hpp"
#include "fakes/guard.hpp"
#include "warpload/dtype.hpp"

namespace warpload::testing::fake {

using cuda::ContextHandle;
using cuda::DevicePointer;
using cuda::EventHandle;
using cuda::FunctionHandle;
using cuda::ModuleHandle;
using cuda::Result;
using cuda::StreamHandle;
using TimePoint = std::chrono::steady_clock::time_point;

struct Capture;
struct Stream;

// A device's primary context, from its first retain to its last release.
struct Context {
  ContextHandle handle = nullptr;
  int device = 0;
  std::uint64_t references = 0;
  Result broken = cuda::kSuccess;  // a failed operation's result: every later call returns it
  std::shared_ptr<Stream> default_stream;
};

// What belongs to a context and may be in use by operations that have not run yet.
struct Resource {
  std::shared_ptr<Context> context;
  int queued = 0;
};

// Device memory, mapped twice: at `begin` without any access, for the caller, and at `memory` for the fake itself.
struct Allocation : Resource {
  DevicePointer begin = 0;
  std::size_t bytes = 0;
  std::byte* memory = nullptr;
};

struct HostRange : Resource {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
};

struct Module : Resource {};

struct Function {
  std::shared_ptr<Module> module;
  DType source;
  DType destination;
};

// One recording of an event: an event that is recorded again gets another, and whoever waits keeps the one it met.
struct Record {
  bool complete = false;
  TimePoint due = {};  // where time is modelled: when it is complete
  Edge edge;
  std::shared_ptr<Capture> capture = {};  // that it is part of: it never completes
  Stream* recorded_in = nullptr;
};

struct Event : Resource {
  std::shared_ptr<Record> last;  // null: never recorded, which counts as complete
};

// One element of a stream's queue.
struct Operation {
  std::function<Result()> work = {};  // a copy or kernel, run without the lock; empty in pure markers
  std::vector<std::shared_ptr<Resource>> uses = {};
  std::shared_ptr<Record> waits_for = {};
  std::shared_ptr<Record> completes = {};
  Edge queued = {};
  std::uint64_t link_bytes = 0;  // what a copy moves between host and device
};

struct Stream : Resource {
  std::deque<std::shared_ptr<Operation>> operations;  // the one that runs stays in front until it has run
  std::uint64_t enqueued = 0;
  std::uint64_t finished = 0;
  bool ending = false;  // its thread ends when the queue is empty
  TimePoint due = {};   // where time is modelled: when all that is queued is done
  bool non_blocking = true;
  std::shared_ptr<Capture> capture = {};  // while it takes part in one
  Edge progress;
  std::thread thread;
};

struct Device {
  std::shared_ptr<Context> context;
  std::uint64_t allocated = 0;
  std::uint64_t peak = 0;
};

inline constexpr std::string_view kAnyExecution = "execution";

struct Injection {
  std::string name;  // of the call, or kAnyExecution; empty: spent
  std::uint64_t countdown;
  Result result;
  FailureSpan span;
};

struct State {
  std::mutex mutex;                 // guards all that follows
  std::condition_variable changed;  // notified whenever something that anybody waits for may have come true

  FakeOptions options;
  std::uint64_t generation = 0;  // counts resets
  bool initialized = false;
  bool paused = false;
  bool discarding = false;
  int executing = 0;
  std::uint64_t next_handle = 0;

  std::vector<Device> devices;
  std::map<ContextHandle, std::shared_ptr<Context>> contexts;
  std::map<DevicePointer, std::shared_ptr<Allocation>> allocations;
  std::map<DevicePointer, std::size_t> freed;  // addresses that stay reserved, so that none is given out twice
  std::map<std::uintptr_t, std::shared_ptr<HostRange>> host_ranges;
  std::map<StreamHandle, std::shared_ptr<Stream>> streams;
  std::vector<std::shared_ptr<Stream>> ended_streams;  // destroyed by the caller, their threads not joined yet
  std::map<EventHandle, std::shared_ptr<Event>> events;
  std::map<ModuleHandle, std::shared_ptr<Module>> modules;
  std::map<FunctionHandle, Function> functions;
  std::vector<std::shared_ptr<Capture>> captures;  // under way
  std::map<std::thread::id, int> capture_modes;    // of threads that have changed theirs

  std::vector<FakeCall> journal;
  std::vector<std::string> faults;
  FakeCounters counters;
  FakeLink link;                 // of the modelled mode
  TimePoint link_free = {};      // when its last copy is done
  std::mutex registration = {};  // registers one range at a time, with the lock above released
  std::vector<Injection> call_injections;
  std::vector<Injection> execution_injections;

  // Handles are numbers that no processor accepts as an address, and none is used twice.
  template <typename Handle>
  Handle make_handle() {
    constexpr std::uint64_t kNotCanonical = std::uint64_t{0xF0} << 48;
    return reinterpret_cast<Handle>(kNotCanonical + 16 * ++next_handle);
  }

  // Writes misuse down and returns `result`.
  Result fault(std::string text, Result result);
};

// The instance. Never destroyed: threads of streams may outlive main().
State& state();

// The result that an injection asks for now, if one does; counts the call `name` for each of them.
std::optional<Result> injected(std::vector<Injection>& injections, std::string_view name);

// The calling thread's contexts; what it pushed before the last reset is forgotten.
std::vector<ContextHandle>& context_stack(const State& state);

// The object of a handle, or null.
template <typename Handle, typename Object>
std::shared_ptr<Object> find(const std::map<Handle, std::shared_ptr<Object>>& table, Handle handle) {
  const auto found = table.find(handle);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace warpload::testing::fake
