// Which bytes of a file are in the page cache.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "warpload/error.hpp"

namespace warpload {

struct PageCount {
  std::uint64_t resident = 0;
  std::uint64_t total = 0;
};

// Asks mincore() over a read-only mapping of the whole file that it never touches, so that asking brings nothing in and
// a file that shrank raises no signal. The answer is a hint: pages come and go. Where it cannot be had (the file cannot
// be mapped, or was not yet), all pages count as resident. Linux says the same of every file that the caller neither
// owns nor may write, so as not to tell what others read: such files are always read by way of the page cache.
//
// Ownership: owns the mapping; needs the descriptor no longer than map() takes. Threads: any.
class Residency {
 public:
  explicit Residency(std::uint64_t size) noexcept : size_(size) {}
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;
  ~Residency();

  // Maps the file, unless that was tried before.
  void map(int descriptor) const noexcept;
  [[nodiscard]] bool tried() const noexcept { return begin_.load(std::memory_order_acquire) != nullptr; }

  // The mapping; empty where there is none. Touching what the file has lost raises SIGBUS.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;

  // Counts the pages that hold bytes of `range`; no others are looked at.
  [[nodiscard]] PageCount count(ByteRange range) const;

  // Counts one page in every 256 KiB of the range, its first and its last among them: asking for all takes a tenth of
  // the time that reading them from the page cache takes, and mostly all are there or none.
  [[nodiscard]] PageCount sample(ByteRange range) const;

 private:
  std::uint64_t size_;
  mutable std::atomic<std::byte*> begin_ = nullptr;  // MAP_FAILED where it cannot be mapped
};

}  // namespace warpload
