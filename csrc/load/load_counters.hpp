// What a load counts while it is under way: the bytes that have arrived, by segment, and where its workers' time went.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "load/load_clock.hpp"
#include "plan/load_plan.hpp"
#include "warpload/load_handle.hpp"

namespace warpload {

// Ownership: shared by the load and by whoever watches it, so that a watcher keeps nothing else of the load.
// Threads: any.
class LoadCounters {
 public:
  explicit LoadCounters(const LoadPlan& plan);
  LoadCounters(const LoadCounters&) = delete;
  LoadCounters& operator=(const LoadCounters&) = delete;

  // So many more bytes of the segment's files have arrived, or are not to come, as the segment was released.
  void arrived(std::size_t segment, std::uint64_t bytes) noexcept {
    done_[segment].fetch_add(bytes, std::memory_order_relaxed);
  }

  // The load is gone: what has not arrived does not come any more.
  void end() noexcept { ended_.store(true, std::memory_order_release); }

  [[nodiscard]] std::size_t segment_count() const noexcept { return totals_.size(); }
  [[nodiscard]] LoadProgress progress() const noexcept;
  [[nodiscard]] LoadProgress progress(std::size_t segment) const noexcept;

  LoadClock clock;

 private:
  std::vector<std::uint64_t> totals_;             // by segment
  std::vector<std::atomic<std::uint64_t>> done_;  // by segment
  std::atomic<bool> ended_ = false;
};

}  // namespace warpload
