/// @file
/// Options of loads and loaders: what to load, to where, and as what.
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
#include "warpload/populate.hpp"

namespace warpload {

/// How one checkpoint is loaded. All its tensors go to one segment of memory.
struct SegmentOptions {
  /// The dtype of all floating-point tensors, quantised ones of GGUF files among them (see
  /// is_dequantization_supported); nothing keeps each tensor's own, which is bytes for quantised ones. Other tensors
  /// keep theirs.
  std::optional<DType> dtype = {};

  /// The dtypes of single tensors, by name; they override `dtype`. A quantised tensor of which u8 is asked keeps its
  /// bytes.
  std::unordered_map<std::string, DType> tensor_dtypes = {};

  /// The names of the tensors to load; nothing loads all. A name that the checkpoint lacks is an InvalidArgumentError.
  std::optional<std::unordered_set<std::string>> only = {};

  /// Chooses tensors: those are loaded for which it returns true, of those that `only` names where that is given. It
  /// is called by Loader::start and Loader::arena_bytes, on the calling thread, once for each tensor, and what it
  /// throws passes through.
  std::function<bool(const TensorInfo&)> filter = {};

  /// Whether tensors may be views of their files: on the host, a tensor that is not cast and lies aligned in its file
  /// is then a view of the file's private mapping, and costs nothing until it is used. Where this is false every
  /// tensor is read.
  bool zero_copy = true;

  /// The device that the tensors go to; nothing takes the arena's, or without an arena the loader's.
  std::optional<Device> device = {};

  /// Memory of the caller's to put the tensors in, instead of memory that the load allocates; no tensor is a view then.
  /// Loader::arena_bytes tells how much the load takes of it.
  std::optional<Arena> arena = {};

  /// The stream that the caller works in: the device's own handle, a CUstream or cudaStream_t; null is the device's
  /// legacy default stream. (A program that is compiled for default streams by thread passes CU_STREAM_PER_THREAD, on
  /// the thread whose stream it is.) The first copy waits for what is queued there, so that the load may be given
  /// memory which that work still uses. A stream that is being captured into a CUDA graph is an InvalidArgumentError.
  void* stream = nullptr;

  /// How many events the load's trace keeps (LoadHandle::trace), the last ones; no more memory is taken, 40 bytes an
  /// event, than all events of the load need. 0 records nothing, and costs nothing. Of several requests of one load the
  /// largest number counts.
  std::uint64_t trace_events = 0;
};

/// One checkpoint of a load, which may have several: the components of a pipeline, say.
struct SegmentRequest {
  Checkpoint::Ptr checkpoint;   ///< The checkpoint to load.
  SegmentOptions options = {};  ///< How it is loaded.
};

/// Who casts tensors on their way to a device.
enum class DeviceCasts : std::uint8_t {
  kAuto,    ///< The device where the source is no larger than the result; else whichever was measured to be faster.
  kHost,    ///< The workers, while they fill the slots.
  kDevice,  ///< The device where it has the cast, else the workers.
};

/// How a loader is made.
struct LoaderOptions {
  Device device = Device::host();  ///< The device that tensors go to unless a request says otherwise.
  /// How many workers there are; 0 takes as many as processors that this process may run on, at most 32. More than
  /// Loader::most_threads are never started.
  unsigned threads = 0;
  /// The most bytes of pinned memory for each driver that is loaded to. The ring of slots that it is for has a slot for
  /// each worker and four more; one slot is made whatever this says.
  std::uint64_t pinned_bytes = std::uint64_t{128} << 20;
  std::uint64_t slot_bytes = std::uint64_t{4} << 20;  ///< The bytes of one slot: a multiple of 2 MiB, more than 0.
  unsigned copy_streams = 4;                      ///< How many streams one load copies on to one device; at least 1.
  DeviceCasts device_casts = DeviceCasts::kAuto;  ///< Who casts.
  DirectIo direct_io = DirectIo::kAuto;           ///< How files are read.
  Populate populate = Populate::kAuto;            ///< What becomes of views before they are used.
};

/// Memory for one segment, brought by the caller: at least as many bytes as were asked for, at an address of the
/// segment's device that is a multiple of 256. Where `data` is null the load allocates the memory itself.
struct AdoptedMemory {
  std::byte* data = nullptr;         ///< The first byte.
  std::shared_ptr<void> owner = {};  ///< Keeps the memory; released with the segment's last tensor, on any thread.
};

/// How much memory a load needs for one segment, and where.
struct SegmentSize {
  std::size_t segment = 0;  ///< The position of the request that the memory is for.
  std::uint64_t bytes = 0;  ///< How many bytes are needed; more than 0.
  DeviceId device = {};     ///< The device that the memory has to be on.
  /// True where the memory is not for a segment, but working memory for casts on the device, of a few slots' size. The
  /// loader keeps it for its next loads, and releases it, when no load uses it, in Loader::release_pinned_memory or at
  /// its own end.
  bool staging = false;
};

/// An allocator of the caller's own, which brings memory once the sizes are known. It returns an AdoptedMemory for each
/// size that it is asked for, in that order. What it throws passes through.
///
/// Threads: it is called on the thread that calls Loader::start, once with every segment that needs memory and has no
/// arena. In loads to devices the workers already read then: it must not wait for a load of the same loader.
///
/// Where a device is to cast and the loader has no idle working memory there, the allocator is first called for that
/// memory alone (SegmentSize::staging). When it throws OutOfMemoryError then, the load goes on, and the workers cast.
using SegmentAllocator = std::function<std::vector<AdoptedMemory>(std::span<const SegmentSize>)>;

}  // namespace warpload
