// Host memory for tensors: one reservation, given back segment by segment.
//
//   one mmap   |xxx| segment 0      | segment 1 | segment 2        |xxx|      xxx: cut off to align at 2 MiB
//                  ^ huge pages     ^ each unmapped on its own, with its last owner
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace warpload {

// One segment's memory. Zero-filled and not backed until first written. Threads: immutable but for
// release_pages, which may run beside anything that does not touch its range.
class HostSegment {
 public:
  HostSegment(std::byte* begin, std::uint64_t bytes) noexcept : begin_(begin), bytes_(bytes) {}
  HostSegment(const HostSegment&) = delete;
  HostSegment& operator=(const HostSegment&) = delete;
  ~HostSegment();

  [[nodiscard]] std::byte* data() const noexcept { return begin_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  // Gives the pages that lie wholly inside [offset, offset + bytes) back to the system; the range then reads
  // as zeros. Small ranges are left alone: breaking a huge page up costs more than it frees.
  void release_pages(std::uint64_t offset, std::uint64_t bytes) const noexcept;

 private:
  std::byte* begin_;
  std::uint64_t bytes_;
};

// Reserves all segments at once: either all of them are there or OutOfMemoryError, with the sizes in its
// message, and nothing is. Sizes must be multiples of kSegmentAlignment (2 MiB); a size of 0 gives a null
// pointer.
[[nodiscard]] std::vector<std::shared_ptr<HostSegment>> reserve_host_arena(
    std::span<const std::uint64_t> segment_bytes);

}  // namespace warpload
