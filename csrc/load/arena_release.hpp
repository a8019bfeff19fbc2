// Where a load releases memory of its arena.
//
//   tensor's share    with the tensor: its whole pages go back to the system where the segment can do so (HostSegment)
//   segment           with the last share of it: unmapped, freed by the driver, or its owner released
//   part of an Arena  with a load that could not begin: the caller's Arena is as it was before
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "device/segment.hpp"
#include "warpload/arena.hpp"

namespace warpload {

// The memory of one tensor, `bytes` at `offset` of the segment, owned by whoever holds the result. The range is
// released with the last owner, on that owner's thread; the segment with the last of its ranges.
[[nodiscard]] std::shared_ptr<std::byte> share_segment(std::shared_ptr<Segment> segment, std::uint64_t offset,
                                                       std::uint64_t bytes);

// Parts of callers' arenas, which are released to them in the destructor unless the load begins. Threads: one.
class ArenaParts {
 public:
  ArenaParts() = default;
  ArenaParts(const ArenaParts&) = delete;
  ArenaParts& operator=(const ArenaParts&) = delete;
  ~ArenaParts();

  // Throws OutOfMemoryError.
  [[nodiscard]] std::shared_ptr<Segment> take(const Arena& arena, std::uint64_t bytes);

  // The load has begun: the parts are its own.
  void keep() noexcept { parts_.clear(); }

 private:
  struct Part {
    Arena arena;
    std::byte* begin;
    std::uint64_t bytes;
  };
  std::vector<Part> parts_;  // in the order in which they were taken
};

}  // namespace warpload
