/// @file
/// Loaders: the workers and the pinned memory by which checkpoints become tensors.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "warpload/export.h"
#include "warpload/load_handle.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

/// Owns the workers and the ring of pinned slots. One loader serves a whole process well.
///
/// Ownership: move-only. A loader may be destroyed before its handles: its loads go on, and the workers with them. A
/// moved-from loader can only be destroyed or assigned to.
///
/// Threads: every member but the destructor and moves may be called from any thread. Loads run side by side on the same
/// workers, those that were started first before the others.
///
/// Processes: a child after fork has none of the threads. There a loader may be destroyed; what needs the threads, or
/// what they share, throws InvalidArgumentError.
class WARPLOAD_API Loader {
 public:
  /// Starts the workers.
  ///
  /// @throws InvalidArgumentError for options that make no sense.
  /// @throws std::system_error when the system gives no thread.
  explicit Loader(LoaderOptions options = {});
  /// Takes the workers over from another loader.
  Loader(Loader&&) noexcept;
  /// Releases the workers that this loader has, as the destructor does, and takes over the other loader's.
  Loader& operator=(Loader&&) noexcept;
  ~Loader();

  /// How many workers a loader has at most, whatever its options say: four for each processor that this process may
  /// run on, or 32 where that is more. Further workers would only wait for each other.
  [[nodiscard]] static unsigned most_threads() noexcept;

  /// How many workers this loader has.
  [[nodiscard]] unsigned threads() const noexcept;

  /// Plans the loads of several checkpoints as one, reserves their memory and starts filling it in the order given;
  /// returns before the bytes are there.
  ///
  /// @param requests what to load, a segment each.
  /// @param allocate brings memory for those segments that have no arena; without it the load allocates.
  /// @throws InvalidArgumentError for options that make no sense, a name that the checkpoint lacks, a cast that is not
  ///         supported, or a stream that is being captured into a CUDA graph.
  /// @throws OutOfMemoryError with the sizes when the memory is not there.
  /// @throws DeviceError when a driver reports an error.
  /// @throws IoError when a file has shrunk since its checkpoint was opened.
  ///
  /// What a filter or `allocate` throws passes through. When anything is thrown no memory stays reserved but what is
  /// kept for the next load: slots, and working memory for casts (SegmentSize::staging).
  ///
  /// Where it is not known yet whether a device or the workers cast faster (DeviceCasts::kAuto), this is measured here,
  /// once for a device and a pair of dtypes; the measurement waits for the work in the caller's stream.
  [[nodiscard]] LoadHandle start(const std::vector<SegmentRequest>& requests,
                                 const SegmentAllocator& allocate = {}) const;

  /// Starts a load of one checkpoint, as `start` does for several. (A template, lest `{checkpoint, {}}` become a
  /// pointer made of the two.)
  template <std::convertible_to<Checkpoint::Ptr> Pointer>
  [[nodiscard]] LoadHandle start(Pointer checkpoint, SegmentOptions options = {}) const {
    return start_one(std::move(checkpoint), std::move(options));
  }

  /// The bytes of an arena (see SegmentOptions::arena) that a load of these requests takes, whether or not they name
  /// an arena yet.
  ///
  /// @throws InvalidArgumentError for options that make no sense, a name that the checkpoint lacks, or a cast that is
  ///         not supported.
  /// @throws OutOfMemoryError when the sizes do not fit in 64 bits.
  [[nodiscard]] std::uint64_t arena_bytes(const std::vector<SegmentRequest>& requests) const;

  /// The bytes of an arena that a load of one checkpoint takes. Throws what `arena_bytes` throws for several.
  template <std::convertible_to<Checkpoint::Ptr> Pointer>
  [[nodiscard]] std::uint64_t arena_bytes(Pointer checkpoint, SegmentOptions options = {}) const {
    return arena_bytes_of_one(std::move(checkpoint), std::move(options));
  }

  /// Opens the device and pins slots for loads of up to `bytes`, on threads of the loader's, and does not wait for
  /// them. A failure shows when a load needs what failed. Does nothing for Device::host().
  void prepare(const Device& device, std::uint64_t bytes) const;

  /// Releases what no load uses: the slots, the copy streams, and the devices' working memory for casts. Waits for
  /// copies that are under way. Returns how many bytes of slots were released.
  std::uint64_t release_pinned_memory() const;

  /// How many bytes of slots are pinned now.
  [[nodiscard]] std::uint64_t pinned_bytes() const;

  /// Why host memory could not be pinned as wanted, the first time that it could not; empty when it always could. Loads
  /// go on with fewer slots, or with pageable ones, which is slower.
  [[nodiscard]] std::string pinning_failure() const;

 private:
  // By reference: a move of all these members in the caller's code is more than some compilers' warnings understand.
  [[nodiscard]] LoadHandle start_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const;
  [[nodiscard]] std::uint64_t arena_bytes_of_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const;

  struct WARPLOAD_HIDDEN State;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
