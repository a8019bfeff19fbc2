#include "load/trace_ring.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "load/view_populator.hpp"

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

// Asking for what is there takes less.
constexpr std::chrono::microseconds kLeastWait{1};
constexpr std::uint32_t kKindBits = 8;

Clock::time_point time_of(std::int64_t ticks) noexcept { return Clock::time_point(Clock::duration(ticks)); }

std::uint64_t most_events(const LoadPlan& plan) {
  std::uint64_t most = 2 * plan.runs.size() + 4 * plan.batches.size();
  for (const PlannedSegment& segment : plan.segments) {
    for (const PlannedTensor& tensor : segment.tensors) {
      // A piece of its own at either end.
      if (tensor.backing == Backing::kView) most += tensor.nbytes / ViewPopulator::kPieceBytes + 2;
    }
  }
  return most;
}

}  // namespace

TraceRing::TraceRing(std::size_t capacity) : capacity_(capacity), cells_(std::make_unique<Cell[]>(capacity)) {}

// The fields are released one by one: whoever sees one of them sees whose turn it was, too. (Fences would say the same
// for less, but ThreadSanitizer does not know them, and an x86 does this for nothing.)
void TraceRing::record(const TraceEvent& event) noexcept {
  const std::uint64_t ticket = next_.fetch_add(1, std::memory_order_relaxed);
  Cell& cell = cells_[ticket % capacity_];
  std::uint64_t turn = cell.turn.load(std::memory_order_relaxed);
  if (turn % 2 != 0 || turn > 2 * ticket) return;
  if (!cell.turn.compare_exchange_strong(turn, 2 * ticket + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
    return;
  }
  cell.begin.store(event.begin.time_since_epoch().count(), std::memory_order_release);
  cell.end.store(event.end.time_since_epoch().count(), std::memory_order_release);
  cell.bytes.store(event.bytes, std::memory_order_release);
  cell.thread.store(event.thread, std::memory_order_release);
  cell.segment_and_kind.store(event.segment << kKindBits | static_cast<std::uint32_t>(event.kind),
                              std::memory_order_release);
  cell.turn.store(2 * ticket + 2, std::memory_order_release);
}

TraceEvents TraceRing::read() const {
  TraceEvents found;
  const std::uint64_t next = next_.load(std::memory_order_acquire);
  for (std::uint64_t ticket = next - std::min<std::uint64_t>(next, capacity_); ticket < next; ++ticket) {
    const Cell& cell = cells_[ticket % capacity_];
    const std::uint64_t written = 2 * ticket + 2;
    if (cell.turn.load(std::memory_order_acquire) != written) continue;
    TraceEvent event{.begin = time_of(cell.begin.load(std::memory_order_acquire)),
                     .end = time_of(cell.end.load(std::memory_order_acquire)),
                     .bytes = cell.bytes.load(std::memory_order_acquire),
                     .thread = cell.thread.load(std::memory_order_acquire)};
    const std::uint32_t both = cell.segment_and_kind.load(std::memory_order_acquire);
    if (cell.turn.load(std::memory_order_relaxed) != written) continue;
    event.segment = both >> kKindBits;
    event.kind = static_cast<TraceKind>(both & ((1U << kKindBits) - 1));
    found.events.push_back(event);
  }
  found.lost = next - found.events.size();
  return found;
}

std::shared_ptr<TraceRing> make_trace_ring(std::uint64_t wanted, const LoadPlan& plan) {
  if (wanted == 0) return nullptr;
  const std::uint64_t capacity = std::min(wanted, std::max<std::uint64_t>(most_events(plan), 1));
  return std::make_shared<TraceRing>(static_cast<std::size_t>(capacity));
}

TracePen::TracePen(TraceRing* ring) noexcept : ring_(ring) {
  if (ring_ != nullptr) thread_ = static_cast<std::uint32_t>(::syscall(SYS_gettid));  // glibc before 2.30 has no gettid
}

void TracePen::note(TraceKind kind, std::size_t segment, std::uint64_t bytes) noexcept {
  const Clock::time_point now = Clock::now();
  const bool waited = kind == TraceKind::kWaitingForSlot || kind == TraceKind::kWaitingForArena;
  if (!waited || now - begin_ >= kLeastWait) {
    ring_->record({.begin = begin_,
                   .end = now,
                   .bytes = bytes,
                   .thread = thread_,
                   .segment = static_cast<std::uint32_t>(segment),
                   .kind = kind});
  }
  begin_ = now;
}

TraceEvents LoadTrace::read() const { return ring_ ? ring_->read() : TraceEvents{}; }

}  // namespace warpload
