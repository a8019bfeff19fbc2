// From requests to everything that a load needs before its first byte moves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/segment.hpp"
#include "load/device_lane.hpp"
#include "load/loader_resources.hpp"
#include "plan/load_plan.hpp"
#include "warpload/arena.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

// Parts of callers' arenas, which go back to them unless the load begins.
class ArenaParts {
 public:
  ArenaParts() = default;
  ArenaParts(ArenaParts&&) noexcept = default;
  ArenaParts& operator=(ArenaParts&&) noexcept = default;
  ~ArenaParts();

  // Throws OutOfMemoryError.
  [[nodiscard]] std::shared_ptr<Segment> take(const Arena& arena, std::uint64_t bytes);
  void keep() noexcept { parts_.clear(); }

 private:
  struct Part {
    Arena arena;
    std::byte* begin;
    std::uint64_t bytes;
  };
  std::vector<Part> parts_;  // in the order in which they were taken
};

struct LoadSetup {
  LoadPlan plan;
  ArenaParts arena_parts;
  std::vector<std::shared_ptr<Segment>> segments;  // one a request; null when it has no bytes in the arena
  std::vector<std::unique_ptr<DeviceLane>> lanes;  // one a device
  std::vector<DeviceLane*> lane_of;                // by segment; null on the host
};

// Bytes of an arena that such requests take together; whether they have one does not matter. Where a request names no
// device, it is `device`. Throws InvalidArgumentError, OutOfMemoryError.
[[nodiscard]] std::uint64_t arena_bytes_of(std::span<const SegmentRequest> requests, const Device& device);

// Plans the requests, decides who casts, reserves the whole arena and opens the devices' lanes, which then wait for the
// callers' streams. All or nothing. Throws what Loader::start throws.
[[nodiscard]] LoadSetup set_up_load(LoaderResources& resources, std::span<const SegmentRequest> requests,
                                    const SegmentAllocator& allocate);

}  // namespace warpload
