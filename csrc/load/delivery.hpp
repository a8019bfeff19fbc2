// The workers' part of a load: batch after batch of the plan, from the files into the arena.
//
//   straight into the arena   wait for the arena -> read (and cast) each run into it -> arrived
//   through a slot            wait for a slot -> read (and cast) into it -> wait for the arena -> send the slot ->
//   arrived
//
// So slots are filled while the arena is still being allocated.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "load/device_lane.hpp"
#include "load/load_control.hpp"
#include "load/load_counters.hpp"
#include "load/segment_states.hpp"
#include "load/trace_ring.hpp"
#include "plan/load_plan.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/direct_io.hpp"

namespace warpload {

// Delivers the batches of one plan, each once and in the plan's order, whichever worker takes it. Skips those of
// segments that were released, and stops between two runs when the load does.
//
// Ownership: borrows all that it is made with, which has to outlive the last pump(). Threads: any.
class Delivery {
 public:
  // `checkpoints` and `lane_of` are by segment; a lane is null where the segment is on the host. `trace` is null where
  // nothing is recorded.
  Delivery(const LoadPlan& plan, std::span<const Checkpoint::Ptr> checkpoints, std::span<DeviceLane* const> lane_of,
           DirectIo direct_io, LoadCounters& counters, SegmentStates& segments, LoadControl& control,
           TraceRing* trace) noexcept
      : plan_(plan),
        checkpoints_(checkpoints),
        lane_of_(lane_of),
        direct_io_(direct_io),
        counters_(counters),
        segments_(segments),
        control_(control),
        trace_(trace) {}

  // One worker's share: takes batches until there are no more, or the load stops. Throws IoError naming file, tensor
  // and range, DeviceError naming the tensor, what a ByteSource of the caller's throws, and std::bad_alloc.
  void pump();

 private:
  // What one worker works with.
  struct Tools;

  void deliver(Tools& tools, const Batch& batch);
  void deliver_directly(Tools& tools, const Batch& batch);
  void deliver_through_slot(Tools& tools, const Batch& batch);
  [[nodiscard]] bool wait_for_arena(Tools& tools, std::size_t segment) const;
  void note_arrival(std::size_t first_run, std::size_t run_count);

  const LoadPlan& plan_;
  std::span<const Checkpoint::Ptr> checkpoints_;
  std::span<DeviceLane* const> lane_of_;
  DirectIo direct_io_;
  LoadCounters& counters_;
  SegmentStates& segments_;
  LoadControl& control_;
  TraceRing* trace_;
  std::atomic<std::size_t> next_batch_ = 0;
};

}  // namespace warpload
