// What a load under way consists of; shared by the handle and its workers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "device/host_arena.hpp"
#include "exec/task_group.hpp"
#include "exec/thread_pool.hpp"
#include "plan/load_plan.hpp"
#include "warpload/loader.hpp"

namespace warpload {

class HostCopier;

// The order of the members is the order of construction; destruction runs backwards: the group drains first,
// then tensors and segments go, the pool last.
struct LoadHandle::State {
  State(std::shared_ptr<ThreadPool> workers, const std::vector<SegmentRequest>& segment_requests, DirectIo mode);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void start();
  void notify_segments() const;
  [[nodiscard]] bool segment_finished(std::size_t segment) const noexcept {
    return runs_left[segment].load(std::memory_order_acquire) == 0;
  }

  std::shared_ptr<ThreadPool> pool;
  DirectIo direct_io;
  std::vector<Checkpoint::Ptr> checkpoints;  // by segment
  LoadPlan plan;
  std::vector<std::shared_ptr<HostSegment>> segments;
  std::vector<std::vector<Tensor>> tensors;  // by segment

  std::atomic<std::uint64_t> bytes_done = 0;
  std::atomic<std::size_t> next_batch = 0;
  std::unique_ptr<std::atomic<std::size_t>[]> runs_left;  // by segment
  mutable std::mutex segment_mutex;
  mutable std::condition_variable segment_finished_or_failed;

  TaskGroup group;

 private:
  void make_tensors();
  void pump();
  void copy_batch(HostCopier& copier, const Batch& batch);
};

}  // namespace warpload
