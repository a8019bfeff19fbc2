// Which bytes of a file are in the page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "warpload/error.hpp"

namespace warpload {

struct PageCount {
  std::uint64_t resident = 0;
  std::uint64_t total = 0;
};

// Asks mincore() over a read-only mapping that is never touched, so that asking brings nothing in and a file that
// shrank raises no signal. The answer is a hint: pages come and go. Where it cannot be had (a file that cannot be
// mapped), all pages count as resident. Linux says the same of every file that the caller neither owns nor may write,
// so as not to tell what others read: such files are always read by way of the page cache.
//
// Ownership: borrows the descriptor, which must outlive it; owns the mapping, made by the first call. Threads: any.
class Residency {
 public:
  Residency(int descriptor, std::uint64_t size) noexcept : descriptor_(descriptor), size_(size) {}
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;
  ~Residency();

  // Counts the pages that hold bytes of `range`; no others are looked at.
  [[nodiscard]] PageCount count(ByteRange range) const;

  // Counts one page in every 256 KiB of the range, its first and its last among them: asking for all takes a tenth of
  // the time that reading them from the page cache takes, and mostly all are there or none.
  [[nodiscard]] PageCount sample(ByteRange range) const;

 private:
  void map() const noexcept;

  int descriptor_;
  std::uint64_t size_;
  mutable std::once_flag mapped_;
  mutable std::byte* begin_ = nullptr;  // nullptr: not mapped
};

}  // namespace warpload
