// From checkpoints to tensors: one arena, a worker pool, a handle to wait on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "warpload/checkpoint.hpp"
#include "warpload/device.hpp"
#include "warpload/direct_io.hpp"
#include "warpload/dtype.hpp"
#include "warpload/tensor.hpp"

namespace warpload {

// What one checkpoint (one component of a pipeline) becomes. It gets one segment of the arena.
struct SegmentRequest {
  Checkpoint::Ptr checkpoint;
  std::optional<DType> dtype = {};  // for floating-point tensors; nothing keeps each tensor's own
  std::unordered_map<std::string, DType> tensor_dtypes = {};  // overrides `dtype`, by name
  std::optional<std::unordered_set<std::string>> only = {};   // these tensors and no others
  bool zero_copy = true;  // a tensor that is not cast, and lies aligned, becomes a view of the file's private mapping

  // Where the tensors go, through pinned slots; nothing is the host's memory, filled directly (or mapped).
  std::optional<Device> device = {};
  // The device's own handle of the stream that the caller works in; null is its default stream. The first copy waits
  // for what is queued there, so that memory which that work still uses may be given to the load.
  void* stream = nullptr;
};

// Who casts tensors on their way to a device.
enum class DeviceCasts : std::uint8_t {
  kAuto,    // the device where the source is no larger than the result, else whoever is faster by measurement
  kHost,    // the workers, while they fill the slots
  kDevice,  // the device where it can, else the workers
};

struct LoaderOptions {
  unsigned threads = 0;  // workers; 0 takes the processors that this process may run on
  std::uint64_t pinned_bytes = std::uint64_t{256} << 20;  // at most, of the ring of slots
  std::uint64_t slot_bytes = std::uint64_t{8} << 20;      // of one slot; a multiple of 2 MiB
  DeviceCasts device_casts = DeviceCasts::kAuto;
  DirectIo direct_io = DirectIo::kAuto;
};

// Memory for one segment, brought by the caller: at least as many bytes as were asked for, at an address of the
// segment's device that is a multiple of 256. `owner` is dropped with the last tensor of the segment, on any thread.
struct AdoptedMemory {
  std::byte* data = nullptr;
  std::shared_ptr<void> owner = {};
};

struct SegmentSize {
  std::size_t segment = 0;  // position of its request
  std::uint64_t bytes = 0;
};

// Called once, on the thread that calls start, with every segment that lives on a device and is not empty; returns as
// many pieces of memory, in that order. What it throws passes through start.
using SegmentAllocator = std::function<std::vector<AdoptedMemory>(std::span<const SegmentSize>)>;

struct LoadProgress {
  std::uint64_t bytes_done = 0;  // bytes of files that have arrived in the arena; views count as nothing
  std::uint64_t bytes_total = 0;
};

// A load under way. Move-only. Destroying it cancels what has not been done, waits for the workers and gives
// back what no tensor refers to. Threads: all members may be called from several threads at once, except the
// destructor and moves.
class LoadHandle {
 public:
  LoadHandle(LoadHandle&&) noexcept;
  LoadHandle& operator=(LoadHandle&&) noexcept;
  ~LoadHandle();

  // True once the load has ended, well or badly; every worker has then left the arena.
  [[nodiscard]] bool done() const noexcept;
  void wait() const;
  [[nodiscard]] bool wait_for(std::chrono::milliseconds timeout) const;

  // True once all bytes of that segment are in place, or, on a device, the last copy has been queued: what the caller's
  // stream does after make_stream_wait finds them. Returns true as well when the load has failed: get() tells.
  [[nodiscard]] bool wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const;

  // Makes work that the caller queues in that stream (the device's own handle) from now on wait for the copies of a
  // segment whose wait_segment_for has returned true. Nothing for a segment on the host. Throws DeviceError.
  void make_stream_wait(std::size_t segment, void* stream) const;

  // Waits until the copies of such a segment have been done. Throws DeviceError when one of them failed.
  void wait_arrival(std::size_t segment) const;

  [[nodiscard]] LoadProgress progress() const noexcept;

  // Gives a segment up: what has not been read is skipped, and its memory goes with the last tensor that the caller
  // still holds. Waits for what is being copied. tensors() of it is empty afterwards; no other thread may be using
  // that. Throws DeviceError when a copy failed.
  void drop_segment(std::size_t segment) const;

  // Asks the workers to stop; get() then throws CancelledError, unless the load had ended before. Does not
  // wait.
  void cancel() noexcept;

  // Throws the first error of a load that has failed so far; returns otherwise. Drained before it throws.
  void rethrow_if_failed() const;

  [[nodiscard]] std::size_t segment_count() const noexcept;

  // The tensors of one segment, in the checkpoint's order. They are there at once, so that a caller can bind
  // them while the bytes are under way; what they hold is meaningless until wait_segment_for has returned
  // true and rethrow_if_failed has returned.
  [[nodiscard]] const std::vector<Tensor>& tensors(std::size_t segment) const;

  // Waits, then throws the first worker's error or returns the tensors of all segments, in order.
  [[nodiscard]] std::vector<std::vector<Tensor>> get() const;

 private:
  friend class Loader;
  struct State;
  explicit LoadHandle(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// Owns the workers. Threads: start may be called from any thread; loads run side by side on the same workers.
// A loader may be destroyed before its handles. Not usable in a child after fork (its threads stay in the
// parent).
class Loader {
 public:
  explicit Loader(LoaderOptions options = {});
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;
  ~Loader();

  [[nodiscard]] unsigned threads() const noexcept;

  // Plans all requests, reserves one arena for them and starts filling it, in the order given. Segments on a device
  // take the memory that `allocate` returns, or, without it, memory of the driver's. Throws before anything moves:
  // InvalidArgumentError, OutOfMemoryError (with the sizes), DeviceError, IoError (a file that has shrunk).
  [[nodiscard]] LoadHandle start(const std::vector<SegmentRequest>& requests,
                                 const SegmentAllocator& allocate = {}) const;

  // Opens the device and pins slots for loads of up to `bytes`, on the workers, and does not wait for it. A failure
  // shows when a load needs what failed.
  void prepare(const Device& device, std::uint64_t bytes) const;

  // Unpins and frees the slots that no load uses; returns their bytes.
  std::uint64_t release_pinned_memory() const;

  // Bytes of slots that are pinned now.
  [[nodiscard]] std::uint64_t pinned_bytes() const;

  // Why host memory could not be pinned as wanted; empty when it could. Loads go on with fewer slots, or with pageable
  // ones, which is slower.
  [[nodiscard]] std::string pinning_failure() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
