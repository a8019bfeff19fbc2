// Host memory for tensors: one reservation, released segment by segment.
//
//   one mmap   |xxx| segment 0      | segment 1 | segment 2        |xxx|      xxx: cut off to align at 2 MiB
//                  ^ huge pages     ^ each unmapped on its own, with its last owner
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/segment.hpp"

namespace warpload {

// One segment's memory. Zero-filled and not backed until first written. Threads: release may run beside anything that
// does not touch its range.
class HostSegment final : public Segment {
 public:
  using Segment::Segment;
  ~HostSegment() override;

  // Returns the pages that lie wholly inside the range to the system; the range then reads as zeros. Small ranges
  // are left alone: breaking a huge page up costs more than it frees.
  void release(std::uint64_t offset, std::uint64_t bytes) const noexcept override;
};

// Reserves all segments at once: either all of them are there or OutOfMemoryError, with the sizes in its
// message, and nothing is. Each begins at a huge page's boundary (2 MiB); a size of 0 gives a null pointer.
[[nodiscard]] std::vector<std::shared_ptr<Segment>> reserve_host_arena(std::span<const std::uint64_t> segment_bytes);

}  // namespace warpload
