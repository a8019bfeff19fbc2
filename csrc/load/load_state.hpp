// What a load under way consists of; shared by the handle and its workers.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device/segment.hpp"
#include "exec/task_group.hpp"
#include "load/device_lane.hpp"
#include "load/load_clock.hpp"
#include "load/loader_resources.hpp"
#include "plan/load_plan.hpp"
#include "warpload/load_handle.hpp"

namespace warpload {

class HostCopier;
class LoadSetup;

// The order of the members is the order of construction; destruction runs backwards: the group drains first (and, at
// its end, the lanes), then the lanes go, then tensors and segments, the workers last.
struct LoadHandle::State {
  // Takes plan and lanes over.
  State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests, LoadSetup& setup);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Has the workers begin, then reserves the arena. Throws what LoadSetup::reserve throws; no worker is left then.
  void start(LoadSetup& setup);
  void cancel(const char* reason) noexcept;
  void cancel_at(std::chrono::steady_clock::time_point time) noexcept;
  // True when the workers have to leave; a deadline that has passed is noticed here.
  [[nodiscard]] bool stopping() noexcept;
  [[nodiscard]] bool wait_until(std::chrono::steady_clock::time_point time);
  [[nodiscard]] bool wait_segment_until(std::size_t segment, std::chrono::steady_clock::time_point time);
  // Destroys a load; in a child after fork, which has none of the threads that it would wait for, leaves it behind.
  static void end(std::unique_ptr<State> state) noexcept;
  void notify_segments() const;
  void release_segment(std::size_t segment);
  [[nodiscard]] bool segment_finished(std::size_t segment) const noexcept {
    return runs_left[segment].load(std::memory_order_acquire) == 0;
  }

  const pid_t owner = ::getpid();
  std::shared_ptr<LoaderResources> resources;
  std::vector<Checkpoint::Ptr> checkpoints;  // by segment
  LoadPlan plan;
  std::vector<std::shared_ptr<Segment>> segments;
  mutable std::mutex tensors_mutex;  // tensors and segments go when a segment is dropped
  std::vector<TensorList> tensors;   // by segment
  std::vector<std::unique_ptr<DeviceLane>> lanes;
  std::vector<DeviceLane*> lane_of;  // by segment; null on the host

  LoadClock clock;
  std::atomic<std::uint64_t> bytes_done = 0;
  std::atomic<std::size_t> next_batch = 0;
  std::atomic<bool> arena_ready = false;  // segments are there, and the lanes wait for the callers' streams
  std::atomic<std::chrono::steady_clock::time_point> deadline = std::chrono::steady_clock::time_point::max();
  std::unique_ptr<std::atomic<std::size_t>[]> runs_left;  // by segment
  std::unique_ptr<std::atomic<bool>[]> dropped;           // by segment
  mutable std::mutex segment_mutex;
  mutable std::condition_variable segment_finished_or_failed;  // or the arena is ready

  TaskGroup group;

 private:
  void make_tensors();
  void start_pumps();
  void pump();
  void drain_lanes();
  [[nodiscard]] bool wait_for_arena();
  void deliver(HostCopier& copier, const Batch& batch);
  void deliver_directly(HostCopier& copier, const Batch& batch);
  void deliver_through_slot(HostCopier& copier, const Batch& batch);
  void arrived(std::size_t first_run, std::size_t run_count);
};

}  // namespace warpload
