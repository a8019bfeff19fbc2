// Adds up where a load's workers spend their time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "warpload/load_handle.hpp"

namespace warpload {

// Threads: any. A lap is one worker's; it looks at the clock once a part, which is once or twice in a few
// hundred microseconds.
class LoadClock {
 public:
  enum class Part : std::uint8_t { kWaitingForSlots, kReading, kWaitingForArena, kSending };

  class Lap {
   public:
    explicit Lap(LoadClock& clock) noexcept : clock_(clock), begin_(std::chrono::steady_clock::now()) {}
    // What has passed since the lap's begin, or since this was called last, belongs to `part`.
    void end(Part part) noexcept {
      const auto now = std::chrono::steady_clock::now();
      clock_.parts_[static_cast<std::size_t>(part)].fetch_add((now - begin_).count(), std::memory_order_relaxed);
      begin_ = now;
    }

   private:
    LoadClock& clock_;
    std::chrono::steady_clock::time_point begin_;
  };

  [[nodiscard]] LoadTimes times() const noexcept {
    return {of(Part::kWaitingForSlots), of(Part::kReading), of(Part::kWaitingForArena), of(Part::kSending)};
  }

 private:
  [[nodiscard]] std::chrono::nanoseconds of(Part part) const noexcept {
    return std::chrono::steady_clock::duration(parts_[static_cast<std::size_t>(part)].load(std::memory_order_relaxed));
  }

  std::array<std::atomic<std::chrono::steady_clock::rep>, 4> parts_ = {};
};

}  // namespace warpload
