// From requests to everything that a load needs before its first byte moves.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "device/segment.hpp"
#include "load/device_lane.hpp"
#include "load/loader_resources.hpp"
#include "plan/load_plan.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

struct LoadSetup {
  LoadPlan plan;
  std::vector<std::shared_ptr<Segment>> segments;  // one a request; null when it has no bytes in the arena
  std::vector<std::unique_ptr<DeviceLane>> lanes;  // one a device
  std::vector<DeviceLane*> lane_of;                // by segment; null on the host
};

// How such requests are to be filled, where the host casts, and where a request names no device, `device` does. Throws
// InvalidArgumentError.
[[nodiscard]] Device device_of(const SegmentOptions& options, const Device& device);
[[nodiscard]] Delivery delivery_of(const SegmentOptions& options, const Device& device);

// Plans the requests, decides who casts, reserves the whole arena and opens the devices' lanes, which then wait for the
// callers' streams. All or nothing. Throws what Loader::start throws.
[[nodiscard]] LoadSetup set_up_load(LoaderResources& resources, std::span<const SegmentRequest> requests,
                                    const SegmentAllocator& allocate);

}  // namespace warpload
