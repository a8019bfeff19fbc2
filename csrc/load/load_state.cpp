#include "load/load_state.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "load/host_copy.hpp"
#include "load/load_setup.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

// A tensor's share of a segment: what can be given back by itself goes with the tensor, the segment with the last of
// them.
class SegmentShare {
 public:
  SegmentShare(std::shared_ptr<Segment> segment, std::uint64_t offset, std::uint64_t bytes) noexcept
      : segment_(std::move(segment)), offset_(offset), bytes_(bytes) {}
  SegmentShare(const SegmentShare&) = delete;
  SegmentShare& operator=(const SegmentShare&) = delete;
  ~SegmentShare() {
    // The last share leaves it to the segment's own end.
    if (segment_.use_count() > 1) segment_->release(offset_, bytes_);
  }

  [[nodiscard]] std::byte* data() const noexcept { return segment_->data() + offset_; }

 private:
  std::shared_ptr<Segment> segment_;
  std::uint64_t offset_;
  std::uint64_t bytes_;
};

std::shared_ptr<std::byte> arena_memory(const std::shared_ptr<Segment>& segment, const PlannedTensor& planned) {
  auto share = std::make_shared<SegmentShare>(segment, planned.offset, planned.nbytes);
  std::byte* data = share->data();
  return {std::move(share), data};
}

// The padding before tensors goes to the device with them. A piece begins at most this far behind the one before.
void clear_padding(const LoadPlan& plan, const Batch& batch, std::byte* slot) {
  const ReadRun& last = plan.runs[batch.first_run + batch.run_count - 1];
  for (std::size_t index = plan.runs[batch.first_run].first_piece; index < last.first_piece + last.piece_count;
       ++index) {
    const std::uint64_t end = plan.pieces[index].destination_offset;
    const std::uint64_t begin = end - std::min(end, kTensorAlignment);
    std::memset(slot + begin, 0, end - begin);
  }
}

}  // namespace

LoadHandle::State::State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests,
                         LoadSetup& setup)
    : resources(std::move(shared)), plan(setup.take_plan()), group(resources->workers(), [this] { drain_lanes(); }) {
  for (const SegmentRequest& request : segment_requests) checkpoints.push_back(request.checkpoint);
  LoadLanes ways = setup.take_lanes();
  lanes = std::move(ways.lanes);
  lane_of = std::move(ways.lane_of);
  runs_left = std::make_unique<std::atomic<std::size_t>[]>(plan.segments.size());
  dropped = std::make_unique<std::atomic<bool>[]>(plan.segments.size());
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    runs_left[index].store(plan.segments[index].run_count, std::memory_order_relaxed);
  }
}

void LoadHandle::State::make_tensors() {
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    const Checkpoint& checkpoint = *checkpoints[index];
    const DeviceId device = lane_of[index] == nullptr ? DeviceId{} : lane_of[index]->backend()->id();
    std::vector<std::shared_ptr<const MappedFile>> mappings(checkpoint.shard_count());
    std::vector<Tensor> result;
    result.reserve(plan.segments[index].tensors.size());
    for (const PlannedTensor& planned : plan.segments[index].tensors) {
      const TensorInfo& info = checkpoint.tensors()[planned.tensor];
      std::shared_ptr<std::byte> memory;
      if (planned.nbytes != 0 && planned.placement == Placement::kView) {
        auto& mapping = mappings[info.shard];
        if (!mapping) mapping = MappedFile::map(*checkpoint.file(info.shard));
        memory = {mapping, mapping->bytes().data() + planned.offset};
      } else if (planned.nbytes != 0) {
        memory = arena_memory(segments[index], planned);
      }
      result.emplace_back(info.name, planned.dtype, info.shape, std::move(memory), planned.nbytes, device);
    }
    tensors.emplace_back(std::move(result));
  }
}

void LoadHandle::State::end(std::unique_ptr<State> state) noexcept {
  if (state && state->owner != ::getpid()) static_cast<void>(state.release());
}

void LoadHandle::State::start(LoadSetup& setup) {
  try {
    if (!lanes.empty()) start_pumps();  // slots are filled while the arena is being reserved
    segments = setup.reserve(plan, lane_of);
    arena_ready.store(true, std::memory_order_release);
    notify_segments();
    make_tensors();
  } catch (...) {
    group.fail(std::current_exception());
    notify_segments();
    group.wait();
    throw;
  }
  setup.keep();
  if (lanes.empty()) start_pumps();
}

void LoadHandle::State::start_pumps() {
  const std::size_t pumps = std::min<std::size_t>(resources->workers().size(), plan.batches.size());
  for (std::size_t index = 0; index < pumps; ++index) group.run([this] { pump(); });
}

// False when the load ends before.
bool LoadHandle::State::wait_for_arena() {
  if (arena_ready.load(std::memory_order_acquire)) return true;
  std::unique_lock lock(segment_mutex);
  segment_finished_or_failed.wait(lock,
                                  [&] { return arena_ready.load(std::memory_order_acquire) || group.stopping(); });
  return arena_ready.load(std::memory_order_acquire);
}

void LoadHandle::State::pump() {
  try {
    HostCopier copier(PlanLimits{}.run_bytes, resources->options().direct_io);
    while (!stopping()) {
      const std::size_t batch = next_batch.fetch_add(1, std::memory_order_relaxed);
      if (batch >= plan.batches.size()) break;
      deliver(copier, plan.batches[batch]);
    }
  } catch (...) {
    group.fail(std::current_exception());
  }
  notify_segments();  // waiters of segments that will never be complete
}

// After the last pump: nothing more is sent.
void LoadHandle::State::drain_lanes() {
  for (const auto& lane : lanes) {
    try {
      lane->finish();
    } catch (...) {
      group.fail(std::current_exception());
    }
  }
}

void LoadHandle::State::cancel(const char* reason) noexcept {
  group.fail(std::make_exception_ptr(CancelledError({.reason = reason})));
  notify_segments();
}

void LoadHandle::State::cancel_at(Clock::time_point time) noexcept {
  deadline.store(time, std::memory_order_relaxed);
  static_cast<void>(stopping());
}

bool LoadHandle::State::stopping() noexcept {
  if (group.stopping()) return true;
  const Clock::time_point last = deadline.load(std::memory_order_relaxed);
  if (last == Clock::time_point::max() || Clock::now() < last) return false;
  cancel("the load was cancelled: its deadline has passed");
  return group.stopping();
}

bool LoadHandle::State::wait_until(Clock::time_point time) {
  const Clock::time_point last = deadline.load(std::memory_order_relaxed);
  if (last < time && !group.wait_until(last)) static_cast<void>(stopping());
  if (time != Clock::time_point::max()) return group.wait_until(time);
  group.wait();
  return true;
}

bool LoadHandle::State::wait_segment_until(std::size_t segment, Clock::time_point time) {
  const auto over = [&] { return segment_finished(segment) || group.stopping(); };
  const auto wait = [&](Clock::time_point end) {
    std::unique_lock lock(segment_mutex);
    return segment_finished_or_failed.wait_until(lock, end, over);
  };
  const Clock::time_point last = deadline.load(std::memory_order_relaxed);
  if (last < time && !wait(last)) static_cast<void>(stopping());
  return wait(time);
}

void LoadHandle::State::deliver(HostCopier& copier, const Batch& batch) {
  if (dropped[plan.runs[batch.first_run].segment].load(std::memory_order_acquire)) {
    arrived(batch.first_run, batch.run_count);
  } else if (batch.slot_bytes == 0) {
    deliver_directly(copier, batch);
  } else {
    deliver_through_slot(copier, batch);
  }
}

void LoadHandle::State::deliver_directly(HostCopier& copier, const Batch& batch) {
  if (!wait_for_arena()) return;
  for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
    if (stopping()) return;
    const ReadRun& run = plan.runs[index];
    copier.copy(plan, batch, index, *checkpoints[run.segment], segments[run.segment]->data());
    arrived(index, 1);
  }
}

void LoadHandle::State::deliver_through_slot(HostCopier& copier, const Batch& batch) {
  const std::size_t segment = plan.runs[batch.first_run].segment;
  DeviceLane& lane = *lane_of[segment];
  LoadClock::Lap lap(clock);
  auto slot = lane.acquire([this] { return stopping(); });
  lap.end(LoadClock::Part::kWaitingForSlots);
  if (!slot) return;
  const std::optional<std::size_t> lead = copier.read_straight(plan, batch, *checkpoints[segment], slot->bytes());
  if (!lead) {
    clear_padding(plan, batch, slot->bytes().data());
    for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
      if (stopping()) return;
      copier.copy(plan, batch, index, *checkpoints[segment], slot->bytes().data());
    }
  }
  lap.end(LoadClock::Part::kReading);
  if (!wait_for_arena()) return;
  lap.end(LoadClock::Part::kWaitingForArena);
  try {
    lane.send(std::move(*slot), lead.value_or(0), plan, batch, segments[segment]->data());
  } catch (const DeviceError& error) {
    rethrow_with_tensor(error, *checkpoints[segment], plan.runs[batch.first_run]);
  }
  lap.end(LoadClock::Part::kSending);
  arrived(batch.first_run, batch.run_count);
}

// The runs are in place, or, on a device, on their way in the order of its streams.
void LoadHandle::State::arrived(std::size_t first_run, std::size_t run_count) {
  const std::size_t segment = plan.runs[first_run].segment;
  std::uint64_t bytes = 0;
  for (std::size_t index = first_run; index < first_run + run_count; ++index) bytes += plan.runs[index].source.size();
  bytes_done.fetch_add(bytes, std::memory_order_relaxed);
  if (runs_left[segment].fetch_sub(run_count, std::memory_order_acq_rel) == run_count) notify_segments();
}

void LoadHandle::State::release_segment(std::size_t segment) {
  dropped[segment].store(true, std::memory_order_release);
  {
    std::unique_lock lock(segment_mutex);
    segment_finished_or_failed.wait(lock, [&] { return segment_finished(segment) || group.stopping(); });
  }
  if (group.stopping()) group.wait();
  if (lane_of[segment] != nullptr) lane_of[segment]->drain();
  // What goes is destroyed outside the lock: it may be memory of the caller's.
  TensorList given_up;
  std::shared_ptr<Segment> memory;
  const std::lock_guard lock(tensors_mutex);
  std::swap(tensors[segment], given_up);
  std::swap(segments[segment], memory);
}

void LoadHandle::State::notify_segments() const {
  // Taken and dropped so that no waiter is between its test and its sleep.
  {
    const std::lock_guard lock(segment_mutex);
  }
  segment_finished_or_failed.notify_all();
}

}  // namespace warpload
