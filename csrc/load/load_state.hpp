// What a load under way consists of, and how long each part of it lives; shared by the handle and its workers.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "device/segment.hpp"
#include "load/delivery.hpp"
#include "load/device_lane.hpp"
#include "load/load_control.hpp"
#include "load/load_counters.hpp"
#include "load/loader_resources.hpp"
#include "load/segment_states.hpp"
#include "load/trace_ring.hpp"
#include "load/view_populator.hpp"
#include "plan/load_plan.hpp"
#include "warpload/load_handle.hpp"

namespace warpload {

struct LoadLanes;
class LoadSetup;

// The order of the members is the order of construction; destruction runs backwards: the control stops the load
// and waits for its tasks (and, at their end, for the lanes' copies), then the lanes go, then tensors and
// segments, the workers last.
//
// Threads: as LoadHandle; start() before anything else.
struct LoadHandle::State {
  // Takes plan and lanes over.
  State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests, LoadSetup& setup);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Has the workers begin, then reserves the arena. Throws what LoadSetup::reserve throws; no worker is left then.
  void start(LoadSetup& setup);

  // Releases a segment, once the workers and the lane have done with it; false when that is not so by `time`. May be
  // called again. Throws DeviceError when a copy failed.
  [[nodiscard]] bool release_segment_until(std::size_t segment, std::chrono::steady_clock::time_point time);

  // Destroys a load; the pages of the views that it leaves are populated from then on. In a child after fork, which has
  // none of the threads that it would wait for, leaves it as it is.
  static void end(std::unique_ptr<State> state) noexcept;

  const pid_t owner = ::getpid();
  std::shared_ptr<LoaderResources> resources;
  std::vector<Checkpoint::Ptr> checkpoints;  // by segment
  LoadPlan plan;
  std::shared_ptr<TraceRing> trace;                // null where nothing is recorded
  mutable std::mutex tensors_mutex;                // of the two lists below, which lose what is released
  std::vector<std::shared_ptr<Segment>> segments;  // null where a segment has no bytes in the arena
  std::vector<TensorList> tensors;                 // by segment
  std::vector<ViewPages> views;                    // of all segments, until they are being populated
  ViewPopulator::Ticket populating;                // null while nothing is
  std::vector<std::unique_ptr<DeviceLane>> lanes;
  std::vector<DeviceLane*> lane_of;  // by segment; null on the host
  std::shared_ptr<LoadCounters> counters;
  SegmentStates states;
  Delivery delivery;
  LoadControl control;

 private:
  State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests, LoadPlan own_plan,
        LoadLanes own_lanes);
  void make_tensors();
  void populate_views() noexcept;
  void start_pumps();
  void finish_lanes();
};

}  // namespace warpload
