/// @file
/// What to load, to where, and as what.
#pragma once

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

#include "warpload/arena.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/device.hpp"
#include "warpload/direct_io.hpp"
#include "warpload/dtype.hpp"

namespace warpload {

/// What becomes of one checkpoint. All its tensors go to one segment of memory.
struct SegmentOptions {
  /// For floating-point tensors; nothing keeps each tensor's own. Others are never cast.
  std::optional<DType> dtype = {};

  /// Overrides `dtype`, by name.
  std::unordered_map<std::string, DType> tensor_dtypes = {};

  /// These tensors and no others; a name that the checkpoint lacks is an error.
  std::optional<std::unordered_set<std::string>> only = {};

  /// Those tensors for which it returns true (and that `only` names, where it is given). Called by Loader::start, on
  /// the thread that calls it, maybe more than once a tensor; what it throws passes through.
  std::function<bool(const TensorInfo&)> filter = {};

  /// On the host, a tensor that is not cast, and lies aligned in its file, becomes a view of the file's private
  /// mapping: it costs nothing until it is used. Otherwise everything is read.
  bool zero_copy = true;

  /// Where the tensors go; nothing takes the loader's device, or the arena's.
  std::optional<Device> device = {};

  /// Memory of the caller's to put them in, instead of memory that the load allocates; no tensor is a view then. Takes
  /// Loader::arena_bytes.
  std::optional<Arena> arena = {};

  /// The device's own handle (a CUstream or cudaStream_t) of the stream that the caller works in; null is its legacy
  /// default stream. (A program that is compiled for default streams by thread means another one by null, and gives
  /// CU_STREAM_PER_THREAD, on the thread whose stream it is.) The first copy waits for what is queued there, so that
  /// memory which that work still uses may be given to the load. Not a stream that is being captured into a CUDA graph:
  /// InvalidArgumentError.
  void* stream = nullptr;
};

/// One checkpoint of a load of several: a component of a pipeline, say.
struct SegmentRequest {
  Checkpoint::Ptr checkpoint;   ///< What to load.
  SegmentOptions options = {};  ///< How.
};

/// Who casts tensors on their way to a device.
enum class DeviceCasts : std::uint8_t {
  kAuto,    ///< The device where the source is no larger than the result, else whoever is faster by measurement.
  kHost,    ///< The workers, while they fill the slots.
  kDevice,  ///< The device where it can, else the workers.
};

/// What a loader is made with.
struct LoaderOptions {
  Device device = Device::host();  ///< Where tensors go, unless a request says otherwise.
  /// Workers; 0 takes the processors that this process may run on. Never more than Loader::most_threads.
  unsigned threads = 0;
  /// At most, of the ring of slots, which has one for each worker and a few more.
  std::uint64_t pinned_bytes = std::uint64_t{128} << 20;
  std::uint64_t slot_bytes = std::uint64_t{4} << 20;  ///< Of one slot; a multiple of 2 MiB.
  unsigned copy_streams = 4;                          ///< Of one load to one device; at least 1.
  DeviceCasts device_casts = DeviceCasts::kAuto;      ///< Who casts.
  DirectIo direct_io = DirectIo::kAuto;               ///< How files are read.
};

/// Memory for one segment, brought by the caller: at least as many bytes as were asked for, at an address of the
/// segment's device that is a multiple of 256. With null `data` the load allocates it.
struct AdoptedMemory {
  std::byte* data = nullptr;         ///< The first byte.
  std::shared_ptr<void> owner = {};  ///< Dropped with the last tensor of the segment, on any thread.
};

/// How much memory is needed, and where.
struct SegmentSize {
  std::size_t segment = 0;  ///< Position of the request that it is for.
  std::uint64_t bytes = 0;  ///< More than 0.
  DeviceId device = {};     ///< Where the memory has to be.
  /// Not a segment, but working memory for casts on the device: a few slots. The loader keeps it for its next loads,
  /// and drops it, at rest, in Loader::release_pinned_memory or at its own end.
  bool staging = false;
};

/// Brings memory once the sizes are known: an allocator of the caller's own. Called on the thread that calls
/// Loader::start; returns as many pieces of memory as it is asked for, in that order.
///
/// Called once with every segment that needs memory and has no arena; for devices, while workers already read: it must
/// not wait for a load of the same loader. What it throws passes through. Where a device is to cast and the loader has
/// no idle working memory there, it is called before with that alone (`staging`); an OutOfMemoryError has the workers
/// cast instead.
using SegmentAllocator = std::function<std::vector<AdoptedMemory>(std::span<const SegmentSize>)>;

}  // namespace warpload
