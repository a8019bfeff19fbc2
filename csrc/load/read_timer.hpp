// Tells what one worker's time goes to while it fills memory: reads that have to be waited for, reads of memory, casts.
#pragma once

#include <cstdint>

#include "load/load_clock.hpp"

namespace warpload {

// Whether a plain read found its bytes in memory is what the kernel counts of the thread: the blocks that were fetched
// for it, and how often it slept. That is asked once a batch and after slow reads, so that it costs nothing.
//
// Ownership: borrows the clock. Threads: one worker, the one that made it.
class ReadTimer {
 public:
  explicit ReadTimer(LoadClock& clock) noexcept : clock_(clock), lap_(clock) {}

  // A run begins; `first` where it is the first of a batch, before which the thread may have waited for anything.
  void begin(bool first) noexcept;

  // What has passed since then, or since the last of these calls, was ...
  void fetched() noexcept;                          // a read past the page cache, or of what was not in it
  void read_plainly(std::uint64_t bytes) noexcept;  // a read of what may be in memory
  void cast() noexcept { lap_.end(LoadClock::Part::kCasting); }

  // The batch ends: plain reads that have not been told apart yet are.
  void end_batch() noexcept;

 private:
  // What the kernel has counted of a thread.
  struct Counts {
    std::uint64_t blocks = 0;  // of 512 bytes, from disks
    std::uint64_t sleeps = 0;
  };
  [[nodiscard]] static Counts counts() noexcept;
  void settle() noexcept;
  void start_anew() noexcept;

  LoadClock& clock_;
  LoadClock::Lap lap_;
  Counts before_;                     // of the plain reads that are not told apart yet
  LoadClock::Duration pending_ = {};  // their time, number and bytes
  std::uint64_t reads_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace warpload
