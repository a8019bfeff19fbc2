// Adds up where a load's workers spend their time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "warpload/load_handle.hpp"

namespace warpload {

// Threads: any. A lap is one worker's; it looks at the clock once a part, which is once or twice in a hundred
// microseconds.
class LoadClock {
 public:
  enum class Part : std::uint8_t {
    kWaitingForSlots,
    kReading,
    kWaitingForArena,
    kSending,
    kFromDisk,
    kFromMemory,
    kCasting,
  };
  using Duration = std::chrono::steady_clock::duration;

  class Lap {
   public:
    explicit Lap(LoadClock& clock) noexcept : clock_(clock), begin_(std::chrono::steady_clock::now()) {}
    // What has passed since the lap's begin, or since this was called last, belongs to `part`.
    void end(Part part) noexcept { clock_.add(part, end()); }
    // What has passed since then, for the caller to say later what it belongs to.
    [[nodiscard]] Duration end() noexcept {
      const auto now = std::chrono::steady_clock::now();
      return now - std::exchange(begin_, now);
    }

   private:
    LoadClock& clock_;
    std::chrono::steady_clock::time_point begin_;
  };

  void add(Part part, Duration duration) noexcept {
    parts_[static_cast<std::size_t>(part)].fetch_add(duration.count(), std::memory_order_relaxed);
  }

  [[nodiscard]] LoadTimes times() const noexcept {
    return {of(Part::kWaitingForSlots), of(Part::kReading),    of(Part::kWaitingForArena), of(Part::kSending),
            of(Part::kFromDisk),        of(Part::kFromMemory), of(Part::kCasting)};
  }

 private:
  [[nodiscard]] std::chrono::nanoseconds of(Part part) const noexcept {
    return Duration(parts_[static_cast<std::size_t>(part)].load(std::memory_order_relaxed));
  }

  std::array<std::atomic<Duration::rep>, 7> parts_ = {};
};

}  // namespace warpload
