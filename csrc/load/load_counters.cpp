#include "load/load_counters.hpp"

namespace warpload {

LoadCounters::LoadCounters(const LoadPlan& plan) : done_(plan.segments.size()) {
  totals_.reserve(plan.segments.size());
  for (const PlannedSegment& segment : plan.segments) totals_.push_back(segment.read_bytes);
}

LoadProgress LoadCounters::progress() const noexcept {
  LoadProgress all;
  for (std::size_t segment = 0; segment < segment_count(); ++segment) {
    const LoadProgress one = progress(segment);
    all.bytes_done += one.bytes_done;
    all.bytes_total += one.bytes_total;
  }
  return all;
}

LoadProgress LoadCounters::progress(std::size_t segment) const noexcept {
  const bool ended = ended_.load(std::memory_order_acquire);  // first, so that nothing is added to what is final
  const std::uint64_t done = done_[segment].load(std::memory_order_relaxed);
  return {done, ended ? done : totals_[segment]};
}

}  // namespace warpload
