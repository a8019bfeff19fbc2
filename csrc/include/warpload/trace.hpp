/// @file
/// What the threads of a load did, and when.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "warpload/export.h"

namespace warpload {

class TraceRing;

/// What a thread of a load did for a while.
enum class TraceKind : std::uint8_t {
  kReading,          ///< Read from a file, be it from the page cache or past it.
  kCopying,          ///< Copied what was read to its place, uncast.
  kCasting,          ///< Cast what was read, or dequantised it, into its place.
  kWaitingForSlot,   ///< Waited for a pinned slot to fill.
  kWaitingForArena,  ///< Waited with bytes in hand for the memory that they go to.
  kSending,          ///< Queued a slot's copy to a device, and the casts there.
  kPopulating,       ///< Had pages of views backed, before they are used.
};

/// One entry of a trace.
struct TraceEvent {
  std::chrono::steady_clock::time_point begin = {};  ///< When it began.
  std::chrono::steady_clock::time_point end = {};    ///< When it ended.
  /// The bytes that it was about, as they lie in the files; of a slot that was sent and of pages, as they lie in
  /// memory; 0 of a wait. Where the reader read ahead, the time is told with the first of the bytes.
  std::uint64_t bytes = 0;
  std::uint32_t thread = 0;              ///< The operating system's number of the thread.
  std::uint32_t segment = 0;             ///< The position of the request that it was for.
  TraceKind kind = TraceKind::kReading;  ///< What it was.
};

/// What was found in a trace.
struct TraceEvents {
  std::vector<TraceEvent> events = {};  ///< In the order in which they ended, but for those of the same moment.
  /// How many other events there have been: those that later ones took the place of, and any being written just now.
  std::uint64_t lost = 0;
};

/// The record of one load: the last events, as many as SegmentOptions::trace_events says.
///
/// Ownership: cheap to copy. It keeps the record and nothing else: it may outlive handle, tensors and loader.
///
/// Threads: as a plain value; read may be called while the load goes on. Processes: a child after fork may read what
/// was recorded before.
class WARPLOAD_API LoadTrace {
 public:
  /// Makes the trace of a load that records nothing.
  LoadTrace() noexcept = default;
  /// For the loader's own use.
  explicit LoadTrace(std::shared_ptr<const TraceRing> ring) noexcept : ring_(std::move(ring)) {}

  /// Whether the load records anything.
  [[nodiscard]] bool is_recorded() const noexcept { return ring_ != nullptr; }

  /// What has been recorded until now: each event whole, or not at all.
  [[nodiscard]] TraceEvents read() const;

 private:
  std::shared_ptr<const TraceRing> ring_;
};

}  // namespace warpload
