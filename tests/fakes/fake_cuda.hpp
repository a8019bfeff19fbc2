// Control of the fake CUDA driver: a library that exports the driver's calls, without a GPU and with no mercy.
//
//   the code under test --dlopen--> libfake_cuda.so <--links-- the test      one file, hence one instance
//
// What it does worse than a real driver, on purpose: device pointers crash the processor that touches them, new memory
// is garbage, streams run late and read pinned memory only when they run, and every misuse is written down (faults()).
// Its calls and this interface may be used from any thread, except reset(), beside which no other call may run. Under
// ThreadSanitizer the calls order threads only as a real driver does: by stream order, events and synchronisation.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "device/cuda/driver_types.hpp"

#define WARPLOAD_FAKE_EXPORT __attribute__((visibility("default")))

namespace warpload::testing {

// The costs of a driver, its link and its pinning, for measuring the loader where there is no GPU. Nothing is copied
// and device memory is only reserved: when a copy is done follows from arithmetic. So the machine's cores and memory
// serve the loader alone, as they do beside a real copy engine. Only time is modelled: bytes are not to be looked at.
struct FakeModel {
  double link_gbps = 8;                         // of all streams and both directions together
  std::chrono::nanoseconds copy_gap{0};         // between two copies on the link
  std::chrono::nanoseconds call{0};             // what a call keeps its thread and its context busy for
  std::chrono::nanoseconds event_query{0};      // the same, of cuEventQuery
  std::chrono::nanoseconds allocation{0};       // the same, of cuMemAlloc and cuMemFree
  std::chrono::nanoseconds pinning_per_mib{0};  // of cuMemHostRegister, which waits for others of its kind
};

struct FakeOptions {
  std::optional<FakeModel> model = {};  // instead of all that follows about time and of most checks
  int devices = 2;                      // 0: cuInit reports kNoDevice, as the real one does
  bool init_without_devices = false;    // with 0 devices: cuInit succeeds all the same and the count is 0
  std::uint64_t device_bytes = std::uint64_t{256} << 20;
  std::chrono::microseconds delay{200};  // before each operation of a stream
  std::uint64_t registered_limit = std::numeric_limits<std::uint64_t>::max();
  bool binary_for_gpu = true;  // false: cuModuleLoadData reports kNoBinaryForGpu
  int driver_version = 13000;
  std::chrono::microseconds kernel_loading{0};  // how long cuModuleGetFunction waits: a real one may for all work
};

// Joins every stream's thread (what is still queued is discarded), frees everything, forgets faults, journal,
// counters and injections, and begins anew: not initialised, not paused.
WARPLOAD_FAKE_EXPORT void reset(const FakeOptions& options = {});

// The same with the options' own values, for callers that are not C++.
extern "C" WARPLOAD_FAKE_EXPORT void warpload_fake_cuda_reset();

// ---- failures -------------------------------------------------------------------------------------------------------

enum class FailureSpan { kOnce, kFromThenOn };

// The `nth` call of `name` (1: the next) returns `result` and has no other effect. Injections add up until reset().
WARPLOAD_FAKE_EXPORT void fail_call(std::string_view name, std::uint64_t nth, cuda::Result result,
                                    FailureSpan span = FailureSpan::kOnce);

// The `nth` copy or kernel that any stream executes (1: the next) has no effect but to break its context: what that has
// queued is discarded, and its calls return `result` from then on. Calls that free or destroy still do, and return it
// too.
WARPLOAD_FAKE_EXPORT void fail_execution(std::uint64_t nth, cuda::Result result);

// ---- the gate -------------------------------------------------------------------------------------------------------

// On return nothing executes, and nothing will until resume_streams(). Calls that wait for a stream wait.
WARPLOAD_FAKE_EXPORT void pause_streams();
WARPLOAD_FAKE_EXPORT void resume_streams();

// ---- what happened --------------------------------------------------------------------------------------------------

struct FakeCall {
  std::string name;
  std::thread::id thread;
  std::uint64_t handle = 0;  // the stream, or the object or address that the call is about; 0 where there is none
  std::uint64_t bytes = 0;   // of copies, allocations and registrations
};

// Every call so far (failed ones too) in the order in which they began.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::vector<FakeCall> journal();

// How often `name` was called.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::uint64_t call_count(std::string_view name);

struct FakeCounters {
  std::uint64_t copies_to_device = 0;  // accepted, whether or not they have run
  std::uint64_t bytes_to_device = 0;
  std::uint64_t copies_to_host = 0;
  std::uint64_t bytes_to_host = 0;
  std::uint64_t pageable_copies = 0;  // of both kinds: host memory was not registered
  std::uint64_t launches = 0;
  std::uint64_t executed = 0;  // copies and kernels that ran with success
};
[[nodiscard]] WARPLOAD_FAKE_EXPORT FakeCounters counters();

// What the modelled link has done since it was asked last. Times are of the steady clock; 0 where nothing was copied.
struct FakeLink {
  std::chrono::steady_clock::time_point begin = {};  // of the first copy
  std::chrono::steady_clock::time_point end = {};    // of the last
  std::chrono::nanoseconds busy{0};
  std::chrono::nanoseconds pinning{0};  // the sum of all registrations, waits for each other left out
  std::uint64_t bytes = 0;
};
[[nodiscard]] WARPLOAD_FAKE_EXPORT FakeLink take_link();

struct FakeLive {
  std::uint64_t allocations = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t registered_ranges = 0;
  std::uint64_t registered_bytes = 0;
  std::uint64_t streams = 0;
  std::uint64_t events = 0;
  std::uint64_t modules = 0;
  std::uint64_t context_references = 0;
  std::vector<std::uint64_t> peak_bytes;  // one a device: the most that was allocated at once

  // True when nothing is left of any kind.
  [[nodiscard]] bool nothing() const noexcept {
    return allocations + registered_ranges + streams + events + modules + context_references == 0;
  }
};
[[nodiscard]] WARPLOAD_FAKE_EXPORT FakeLive live();

// Every misuse so far, one text each. Tests of correct code expect none.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::vector<std::string> faults();

// How many contexts the calling thread has pushed and not popped.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::size_t context_depth();

// The bytes at `address` of live device memory, read at once and past all streams: synchronise first. Empty, with a
// fault, where the range is not inside one allocation.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::vector<std::byte> device_bytes(cuda::DevicePointer address, std::size_t bytes);

}  // namespace warpload::testing
