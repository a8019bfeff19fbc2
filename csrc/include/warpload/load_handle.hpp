/// @file
/// Loads under way, and what they give.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "warpload/export.h"
#include "warpload/tensor_list.hpp"
#include "warpload/trace.hpp"

namespace warpload {

class DeviceLane;
class LoadCounters;

/// How far a load is.
struct LoadProgress {
  std::uint64_t bytes_done = 0;   ///< Bytes of files that have been read, and sent to their device.
  std::uint64_t bytes_total = 0;  ///< Bytes of files that the load reads; views, which it does not read, do not count.
};

/// Where the workers' time went, added up over all workers. The first four are of loads to a device, and zero for a
/// load that needs no slots; the last three are of all loads, and parts of `reading` in a load to a device.
struct LoadTimes {
  std::chrono::nanoseconds waiting_for_slots{0};  ///< Waiting for a slot that is free to be filled.
  std::chrono::nanoseconds reading{0};            ///< Reading from files into slots, casts included.
  std::chrono::nanoseconds waiting_for_arena{0};  ///< Waiting with a full slot for the arena's memory.
  std::chrono::nanoseconds sending{0};            ///< Queueing copies and casts on the device.
  std::chrono::nanoseconds from_disk{0};    ///< Reading what is not in memory: past the page cache, or waiting for it.
  std::chrono::nanoseconds from_memory{0};  ///< Reading what is in memory: the page cache, or the caller's own.
  std::chrono::nanoseconds casting{0};      ///< Casting on the cores, writing to new memory included.
};

/// Watches a load without keeping it: the load and its memory may go meanwhile.
///
/// Ownership: cheap to copy. Threads: any. Processes: as a plain value.
class WARPLOAD_API LoadMeter {
 public:
  /// How many segments the load has.
  [[nodiscard]] std::size_t segment_count() const noexcept;

  /// How far the load is. Of one that has gone before its end, the total is what was done.
  [[nodiscard]] LoadProgress progress() const noexcept;

  /// How far one segment is. What is skipped of a segment that was released counts as done.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] LoadProgress progress(std::size_t segment) const;

  /// Where the workers' time has gone until now.
  [[nodiscard]] LoadTimes times() const noexcept;

 private:
  friend class LoadHandle;
  explicit LoadMeter(std::shared_ptr<const LoadCounters> counters) noexcept;
  std::shared_ptr<const LoadCounters> counters_;
};

/// The tensors that a load gave, by segment.
///
/// Ownership: cheap to copy. A tensor stays valid as long as any result, list or copy of it. Threads: as a plain value.
class WARPLOAD_API LoadResult {
 public:
  /// Makes a result without segments.
  LoadResult() noexcept = default;
  /// Makes a result from the segments' tensors, in the order of their requests.
  explicit LoadResult(std::vector<TensorList> segments) noexcept : segments_(std::move(segments)) {}

  /// How many segments there are: one for each request of the load.
  [[nodiscard]] std::size_t segment_count() const noexcept { return segments_.size(); }

  /// The tensors of a segment. A load of one checkpoint has one segment, the first.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] TensorList tensors(std::size_t segment = 0) const;

 private:
  std::vector<TensorList> segments_;
};

/// A load under way.
///
/// Ownership: move-only. Destroying a handle cancels what has not been done, waits for the workers and the device's
/// copies, and releases the memory that no tensor refers to. A moved-from handle can only be destroyed or assigned to.
///
/// Threads: all members may be called from several threads at once, except the destructor and moves.
///
/// Processes: a load does not go on in a child after fork. There, InvalidArgumentError is thrown at once by what waits
/// for a load that had not ended before the fork or gives its tensors, by what needs a device, and by release_segment.
/// done is true, cancel does nothing, and the destructor leaves all memory as it is.
class WARPLOAD_API LoadHandle {
 public:
  /// Takes the load over from another handle.
  LoadHandle(LoadHandle&&) noexcept;
  /// Ends the load that this handle has, as the destructor does, and takes over the other handle's.
  LoadHandle& operator=(LoadHandle&&) noexcept;
  ~LoadHandle();

  /// True once the load has ended, well or badly: no worker and no copy touches its memory any more.
  [[nodiscard]] bool done() const noexcept;

  /// Waits until the load has ended, well or badly. Does not throw what went wrong: get and rethrow_if_failed do.
  void wait() const;

  /// Waits until the load has ended, well or badly, but no longer than `timeout`; returns done().
  [[nodiscard]] bool wait_for(std::chrono::milliseconds timeout) const;

  /// Waits until all bytes of the segment are in place, but no longer than `timeout`; returns whether they are. On a
  /// device it returns true when the last copy has been queued: what the caller's stream does after make_stream_wait
  /// finds the bytes. Returns true as well when the load has failed, which rethrow_if_failed tells.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] bool wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const;

  /// Makes work that the caller queues in a stream from now on wait for the copies of a segment whose wait_segment_for
  /// has returned true. Does nothing for a segment on the host.
  ///
  /// @param segment which segment.
  /// @param stream the device's own handle of the stream, a CUstream or cudaStream_t.
  /// @throws DeviceError when the driver reports an error.
  /// @throws InvalidArgumentError when there is no such segment, or the stream is being captured into a CUDA graph.
  void make_stream_wait(std::size_t segment, void* stream) const;

  /// Waits until the copies of a segment whose wait_segment_for has returned true have been done.
  ///
  /// @throws DeviceError when one of them failed.
  /// @throws InvalidArgumentError when there is no such segment.
  void wait_arrival(std::size_t segment) const;

  /// How far the load is. Cheap enough to be called often.
  [[nodiscard]] LoadProgress progress() const noexcept;

  /// Where the workers' time has gone until now.
  [[nodiscard]] LoadTimes times() const noexcept;

  /// What tells how far the load is as long as anybody asks.
  [[nodiscard]] LoadMeter meter() const noexcept;

  /// The record of what the load's threads do, from its start on, where SegmentOptions::trace_events asked for one. It
  /// may be read at any time, after the end of this handle too.
  [[nodiscard]] LoadTrace trace() const noexcept;

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

  /// Cancels the load: get() then throws CancelledError, unless the load had ended before. Does not wait for the
  /// workers, which finish the reads that they are in; at the most it waits for copies that are queued already.
  void cancel() noexcept;

  /// Sets the deadline of the load: when it has not ended by then it is cancelled, and get() throws a
  /// CancelledError that says so. A time that has passed cancels at once. Another call replaces the deadline for
  /// whoever waits from then on.
  void cancel_at(std::chrono::steady_clock::time_point deadline) noexcept;

  /// Throws the first error of a load that has failed, once workers and copies have come to rest. Returns at once when
  /// nothing has failed so far.
  void rethrow_if_failed() const;

  /// How many segments there are: one for each request.
  [[nodiscard]] std::size_t segment_count() const noexcept;

  /// The tensors of one segment, in the checkpoint's order. Does not wait, so that a caller can bind them while the
  /// bytes are under way: what they hold is meaningless until wait_segment_for has returned true and
  /// rethrow_if_failed has returned.
  ///
  /// @throws InvalidArgumentError when there is no such segment.
  [[nodiscard]] TensorList tensors(std::size_t segment = 0) const;

  /// Waits until the load has ended, then returns the tensors of all segments, or throws the first error. May be called
  /// again, with the same result.
  ///
  /// @throws IoError naming file, tensor and range when a file cannot be read.
  /// @throws DeviceError when a driver reports an error.
  /// @throws OutOfMemoryError when a slot or working memory cannot be had.
  /// @throws CancelledError when the load was cancelled or missed its deadline.
  ///
  /// What a ByteSource of the caller's own throws is thrown as it is.
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
