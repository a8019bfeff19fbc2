#include <utility>

#include "load/load_counters.hpp"
#include "warpload/error.hpp"
#include "warpload/load_handle.hpp"

namespace warpload {

LoadMeter::LoadMeter(std::shared_ptr<const LoadCounters> counters) noexcept : counters_(std::move(counters)) {}

std::size_t LoadMeter::segment_count() const noexcept { return counters_->segment_count(); }

LoadProgress LoadMeter::progress() const noexcept { return counters_->progress(); }

LoadProgress LoadMeter::progress(std::size_t segment) const {
  if (segment >= segment_count()) throw InvalidArgumentError({.reason = "no such segment"});
  return counters_->progress(segment);
}

LoadTimes LoadMeter::times() const noexcept { return counters_->clock.times(); }

}  // namespace warpload
