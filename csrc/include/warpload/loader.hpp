/// @file
/// From checkpoints to tensors: one arena, a worker pool, a handle to wait on.
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
/// Ownership: move-only; may be destroyed before its handles. Threads: every member but the destructor and moves may be
/// called from any thread; loads run side by side on the same workers, those that were started first before the others.
/// Not usable in a child after fork (its threads stay in the parent), where it may be destroyed; what needs the
/// threads, or what they share, throws InvalidArgumentError there.
class WARPLOAD_API Loader {
 public:
  /// Starts the workers.
  ///
  /// @throws InvalidArgumentError for options that make no sense.
  /// @throws std::system_error when the system gives no thread.
  explicit Loader(LoaderOptions options = {});
  /// Takes the workers over; the other can only be destroyed or assigned to.
  Loader(Loader&&) noexcept;
  /// Likewise.
  Loader& operator=(Loader&&) noexcept;
  ~Loader();

  /// How many workers a loader has at most, whatever its options say: four for each processor that this process may
  /// run on, and 32 where those are fewer. More would only wait for each other.
  [[nodiscard]] static unsigned most_threads() noexcept;

  /// How many workers there are.
  [[nodiscard]] unsigned threads() const noexcept;

  /// Plans the loads of several checkpoints as one, reserves their memory and starts filling it in the order given;
  /// returns before the bytes are there.
  ///
  /// @param allocate brings memory for those segments that have no arena; without it the device's driver does.
  /// @throws InvalidArgumentError for options that make no sense, or a cast that is not supported.
  /// @throws OutOfMemoryError with the sizes when the memory is not there.
  /// @throws DeviceError when a device refuses; IoError when a file has shrunk.
  ///
  /// What a filter or `allocate` throws passes through. Whatever is thrown, nothing is reserved then, but for what is
  /// kept for the next load: slots, and working memory for casts (SegmentSize::staging). Where it has first to be found
  /// out whether a device casts faster, that is measured here, behind the work in the caller's stream.
  [[nodiscard]] LoadHandle start(const std::vector<SegmentRequest>& requests,
                                 const SegmentAllocator& allocate = {}) const;

  /// The same for one checkpoint. (A template, lest `{checkpoint, {}}` become a pointer made of the two.)
  template <std::convertible_to<Checkpoint::Ptr> Pointer>
  [[nodiscard]] LoadHandle start(Pointer checkpoint, SegmentOptions options = {}) const {
    return start_one(std::move(checkpoint), std::move(options));
  }

  /// Bytes of an arena (see SegmentOptions::arena) that such a load takes; the requests need not have one yet.
  ///
  /// @throws InvalidArgumentError, OutOfMemoryError as start would, for requests and sizes that make no sense.
  [[nodiscard]] std::uint64_t arena_bytes(const std::vector<SegmentRequest>& requests) const;

  /// The same for one checkpoint.
  template <std::convertible_to<Checkpoint::Ptr> Pointer>
  [[nodiscard]] std::uint64_t arena_bytes(Pointer checkpoint, SegmentOptions options = {}) const {
    return arena_bytes_of_one(std::move(checkpoint), std::move(options));
  }

  /// Opens the device and pins slots for loads of up to `bytes`, on threads of the loader's, and does not wait for it.
  /// A failure shows when a load needs what failed. Nothing for Device::host().
  void prepare(const Device& device, std::uint64_t bytes) const;

  /// Unpins and frees the slots that no load uses, and drops the streams and the devices' working memory for casts that
  /// none uses; returns the bytes of the slots.
  std::uint64_t release_pinned_memory() const;

  /// Bytes of slots that are pinned now.
  [[nodiscard]] std::uint64_t pinned_bytes() const;

  /// Why host memory could not be pinned as wanted; empty when it could. Loads go on with fewer slots, or with pageable
  /// ones, which is slower.
  [[nodiscard]] std::string pinning_failure() const;

 private:
  // By reference: a move of all these members in the caller's code is more than some compilers' warnings understand.
  [[nodiscard]] LoadHandle start_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const;
  [[nodiscard]] std::uint64_t arena_bytes_of_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const;

  struct WARPLOAD_HIDDEN State;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
