// From requests to everything that a load needs, in two steps: what the workers need to begin, and the arena.
//
//   requests -> [ tensors chosen -> lanes -> who casts -> plan ] -> workers fill slots ......-> slots go out -> ...
//                                                           |                                |
//                                                           +-> [ arena: torch allocates ] --+
//
// All that has to be asked or measured is decided before the plan, which is made from data alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "device/segment.hpp"
#include "load/arena_release.hpp"
#include "load/device_lane.hpp"
#include "load/loader_resources.hpp"
#include "plan/load_plan.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

// The devices that a load's requests go to, and its lane to each of them.
struct LoadLanes {
  std::vector<std::unique_ptr<DeviceLane>> lanes;  // one a device
  std::vector<DeviceLane*> lane_of;                // by segment; null on the host
};

// Ownership: requests and allocator must outlive it. Threads: one.
class LoadSetup {
 public:
  // Opens the devices' lanes, chooses the tensors, decides who casts, plans, and has slots pinned. Throws what
  // Loader::start throws.
  LoadSetup(LoaderResources& resources, std::span<const SegmentRequest> requests, const SegmentAllocator& allocate);

  // The plan and the lanes; once.
  [[nodiscard]] LoadPlan take_plan() noexcept { return std::move(plan_); }
  [[nodiscard]] LoadLanes take_lanes() noexcept { return std::move(lanes_); }

  // Reserves the whole arena of that plan, or nothing, and has the lanes wait for the callers' streams. Returns a
  // segment a request, null where it has no bytes in the arena. Throws what Loader::start throws.
  [[nodiscard]] std::vector<std::shared_ptr<Segment>> reserve(const LoadPlan& plan,
                                                              std::span<DeviceLane* const> lane_of);

  // The load has begun: parts of callers' arenas are its own.
  void keep() noexcept { arena_parts_.keep(); }

 private:
  void open_lanes();
  void choose_rules();
  void decide_device_casts();
  [[nodiscard]] bool device_casts(DeviceLane& lane, DTypePair pair);
  void make_plan();
  [[nodiscard]] bool reserve_staging();
  void ensure_staging(DeviceLane& lane);
  [[nodiscard]] std::shared_ptr<Segment> allocate_staging(const DeviceLane& lane, std::uint64_t bytes);
  void pin_slots();

  LoaderResources& resources_;
  std::span<const SegmentRequest> requests_;
  const SegmentAllocator& allocate_;
  std::vector<Device> devices_;       // one a request
  std::vector<SegmentInput> inputs_;  // one a request
  LoadPlan plan_;
  LoadLanes lanes_;
  std::set<const DeviceLane*> no_staging_;  // for which there is no memory
  ArenaParts arena_parts_;
};

// Bytes of an arena that such requests take together; whether they have one does not matter. Where a request names no
// device, it is `device`. Throws InvalidArgumentError, OutOfMemoryError.
[[nodiscard]] std::uint64_t arena_bytes_of(std::span<const SegmentRequest> requests, const Device& device);

}  // namespace warpload
