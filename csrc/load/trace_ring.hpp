// What a load's threads note of what they do: the last so many events.
//
//   cells   [ 96 | 97 | 98 | 3 .. being written | 36 | ... ]     ticket modulo capacity; an event is written over the
//                        ^ next ticket: 99                       one that is a whole round older
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "plan/load_plan.hpp"
#include "warpload/trace.hpp"

namespace warpload {

// Threads: any, without locks. Each cell says whose turn it is, so that one thread writes it at a time and a reader
// knows whether what it saw is one event. The fields are atomic: a reader may look while they are written.
class TraceRing {
 public:
  // Keeps the last `capacity` events; at least 1.
  explicit TraceRing(std::size_t capacity);

  // Notes an event; where another thread has the cell just now, or has lapped this one, the event is lost.
  void record(const TraceEvent& event) noexcept;

  // What is whole of the last events.
  [[nodiscard]] TraceEvents read() const;

 private:
  struct Cell {
    std::atomic<std::uint64_t> turn = 0;  // 2 * ticket + 1 while that event is written, one more once it is there
    std::atomic<std::int64_t> begin = 0;
    std::atomic<std::int64_t> end = 0;
    std::atomic<std::uint64_t> bytes = 0;
    std::atomic<std::uint32_t> thread = 0;
    std::atomic<std::uint32_t> segment_and_kind = 0;
  };

  std::size_t capacity_;
  std::unique_ptr<Cell[]> cells_;
  std::atomic<std::uint64_t> next_ = 0;
};

// A ring for one load that keeps `wanted` events, or all that there can be where those are fewer; null for 0.
[[nodiscard]] std::shared_ptr<TraceRing> make_trace_ring(std::uint64_t wanted, const LoadPlan& plan);

// What one thread notes with. Without a ring it does nothing, and does not look at the clock.
class TracePen {
 public:
  explicit TracePen(TraceRing* ring) noexcept;

  // Something begins.
  void begin() noexcept {
    if (ring_ != nullptr) begin_ = Clock::now();
  }
  // What began with begin(), or with the end of what came before, is over. Waits that were none are left out.
  void end(TraceKind kind, std::size_t segment, std::uint64_t bytes = 0) noexcept {
    if (ring_ != nullptr) note(kind, segment, bytes);
  }

 private:
  using Clock = std::chrono::steady_clock;
  void note(TraceKind kind, std::size_t segment, std::uint64_t bytes) noexcept;

  TraceRing* ring_;
  std::uint32_t thread_ = 0;
  Clock::time_point begin_ = {};
};

}  // namespace warpload
