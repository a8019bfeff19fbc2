/// @file
/// A load under way, and what it gives.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "warpload/export.h"
#include "warpload/tensor_list.hpp"

namespace warpload {

class DeviceLane;

/// How far a load is.
struct LoadProgress {
  std::uint64_t bytes_done = 0;   ///< Bytes of files that have been read and sent; views count as nothing.
  std::uint64_t bytes_total = 0;  ///< Bytes of files that the load reads.
};

/// Where the workers' time went on the way to a device: sums over all workers, zero for what does not go through slots.
struct LoadTimes {
  std::chrono::nanoseconds waiting_for_slots{0};  ///< Until a slot was free to be filled.
  std::chrono::nanoseconds reading{0};            ///< From the files into slots, casts included.
  std::chrono::nanoseconds waiting_for_arena{0};  ///< With a full slot, until the memory was there.
  std::chrono::nanoseconds sending{0};            ///< Queueing copies and casts on the device.
};

/// Everything that a load gave. Ownership: cheap to copy; tensors stay valid as long as a result, a list or a tensor of
/// their own. Threads: as a plain value.
class WARPLOAD_API LoadResult {
 public:
  /// No segments.
  LoadResult() noexcept = default;
  /// From the segments' tensors, in the order of their requests.
  explicit LoadResult(std::vector<TensorList> segments) noexcept : segments_(std::move(segments)) {}

  /// One for each request of the load.
  [[nodiscard]] std::size_t segment_count() const noexcept { return segments_.size(); }

  /// The tensors of a segment; a load of one checkpoint has only the first.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] TensorList tensors(std::size_t segment = 0) const;

 private:
  std::vector<TensorList> segments_;
};

/// A load under way.
///
/// Ownership: move-only. Destroying it cancels what has not been done, waits for the workers and the device's copies,
/// and gives back what no tensor refers to; in a child after fork it leaves everything behind. Threads: all members may
/// be called from several threads at once, except the destructor and moves. A moved-from handle can only be destroyed
/// or assigned to.
///
/// Processes: a load does not go on in a child after fork. There, all that waits for a load that had not ended before,
/// or gives its tensors, throws InvalidArgumentError at once, as does what needs a device, or drops a segment; done is
/// true, and cancel does nothing.
class WARPLOAD_API LoadHandle {
 public:
  /// Takes the load over.
  LoadHandle(LoadHandle&&) noexcept;
  /// Ends the load that it held, as the destructor does, and takes the other over.
  LoadHandle& operator=(LoadHandle&&) noexcept;
  ~LoadHandle();

  /// True once the load has ended, well or badly; every worker has then left the arena, and every copy has been done.
  [[nodiscard]] bool done() const noexcept;

  /// Waits for that. Does not throw what went wrong: get and rethrow_if_failed do.
  void wait() const;

  /// Waits for that, but no longer than `timeout`; returns done().
  [[nodiscard]] bool wait_for(std::chrono::milliseconds timeout) const;

  /// True once all bytes of that segment are in place, or, on a device, the last copy has been queued: what the
  /// caller's stream does after make_stream_wait finds them. Returns true as well when the load has failed:
  /// rethrow_if_failed tells.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] bool wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const;

  /// Makes work that the caller queues in that stream (the device's own handle) from now on wait for the copies of a
  /// segment whose wait_segment_for has returned true. Nothing for a segment on the host.
  ///
  /// @throws DeviceError
  /// @throws InvalidArgumentError when there is no such segment, or the stream is being captured into a CUDA graph.
  void make_stream_wait(std::size_t segment, void* stream) const;

  /// Waits until the copies of such a segment have been done.
  ///
  /// @throws DeviceError when one of them failed.
  /// @throws InvalidArgumentError when there is no such segment.
  void wait_arrival(std::size_t segment) const;

  /// How far the load is; cheap enough to ask often.
  [[nodiscard]] LoadProgress progress() const noexcept;

  /// Where the workers' time has gone until now.
  [[nodiscard]] LoadTimes times() const noexcept;

  /// Releases a segment that is not wanted any more: what has not been read of it is skipped, and its memory goes with
  /// the last tensor that the caller still holds. Waits for the workers that are at it and for the copies that are
  /// queued. Afterwards tensors() of it is empty.
  ///
  /// @throws DeviceError when a copy failed.
  /// @throws InvalidArgumentError when there is no such segment.
  void release_segment(std::size_t segment) const;

  /// Releases a segment as release_segment does, but waits for the workers no longer than `timeout`; returns whether it
  /// has been released. While it returns false the segment is skipped as far as it has not been read, and the call is
  /// to be repeated.
  ///
  /// @throws DeviceError when a copy failed.
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] bool release_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const;

  /// Asks the workers to stop; get() then throws CancelledError, unless the load had ended before. Does not wait for
  /// the workers, which finish the reads that they are in; at the most for copies to a device that are queued already.
  void cancel() noexcept;

  /// Cancels the load when it has not ended by then; get() then throws CancelledError that says so. A time that has
  /// passed cancels at once; another call replaces the time, for whoever waits from then on.
  void cancel_at(std::chrono::steady_clock::time_point deadline) noexcept;

  /// Throws the first error of a load that has failed so far; returns otherwise. Workers and copies have come to rest
  /// before it throws.
  void rethrow_if_failed() const;

  /// One for each request.
  [[nodiscard]] std::size_t segment_count() const noexcept;

  /// The tensors of one segment, in the checkpoint's order. They are there at once, so that a caller can bind them
  /// while the bytes are under way; what they hold is meaningless until wait_segment_for has returned true and
  /// rethrow_if_failed has returned.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] TensorList tensors(std::size_t segment = 0) const;

  /// Waits, then returns the tensors of all segments, or throws the first error of a worker. May be called again.
  ///
  /// @throws IoError naming file, tensor and range; DeviceError; OutOfMemoryError; CancelledError; what a ByteSource of
  ///         the caller's own throws, as it is.
  [[nodiscard]] LoadResult get() const;

 private:
  friend class Loader;
  struct WARPLOAD_HIDDEN State;
  explicit LoadHandle(std::unique_ptr<State> state) noexcept;
  [[nodiscard]] bool is_foreign() const;
  [[nodiscard]] bool release_until(std::size_t segment, std::chrono::steady_clock::time_point time) const;
  [[nodiscard]] DeviceLane* lane_here(std::size_t segment) const;
  std::unique_ptr<State> state_;
};

}  // namespace warpload
