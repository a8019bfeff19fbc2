#include "load/load_state.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "load/arena_release.hpp"
#include "load/load_setup.hpp"

namespace warpload {
namespace {

std::vector<Checkpoint::Ptr> checkpoints_of(const std::vector<SegmentRequest>& requests) {
  std::vector<Checkpoint::Ptr> checkpoints;
  for (const SegmentRequest& request : requests) checkpoints.push_back(request.checkpoint);
  return checkpoints;
}

// The tensors of one segment, each with its share of the memory.
TensorList make_list(const PlannedSegment& planned, const Checkpoint& checkpoint,
                     const std::shared_ptr<Segment>& segment, DeviceId device) {
  std::vector<std::shared_ptr<const MappedFile>> mappings(checkpoint.shard_count());
  std::vector<Tensor> result;
  result.reserve(planned.tensors.size());
  for (const PlannedTensor& tensor : planned.tensors) {
    const TensorInfo& info = checkpoint.tensors()[tensor.tensor];
    std::shared_ptr<std::byte> memory;
    if (tensor.nbytes != 0 && tensor.backing == Backing::kView) {
      auto& mapping = mappings[info.shard];
      if (!mapping) mapping = MappedFile::map(*checkpoint.file(info.shard));
      memory = {mapping, mapping->bytes().data() + tensor.offset};
    } else if (tensor.nbytes != 0) {
      memory = share_segment(segment, tensor.offset, tensor.nbytes);
    }
    result.emplace_back(info.name, tensor.dtype, info.shape, std::move(memory), tensor.nbytes, device);
  }
  return TensorList(std::move(result));
}

std::vector<std::byte*> begins_of(const std::vector<std::shared_ptr<Segment>>& segments) {
  std::vector<std::byte*> begins;
  for (const auto& segment : segments) begins.push_back(segment ? segment->data() : nullptr);
  return begins;
}

}  // namespace

LoadHandle::State::State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests,
                         LoadSetup& setup)
    : State(std::move(shared), segment_requests, setup.take_plan(), setup.take_lanes()) {}

LoadHandle::State::State(std::shared_ptr<LoaderResources> shared, const std::vector<SegmentRequest>& segment_requests,
                         LoadPlan own_plan, LoadLanes own_lanes)
    : resources(std::move(shared)),
      checkpoints(checkpoints_of(segment_requests)),
      plan(std::move(own_plan)),
      lanes(std::move(own_lanes.lanes)),
      lane_of(std::move(own_lanes.lane_of)),
      states(plan),
      delivery(plan, checkpoints, lane_of, resources->options().direct_io, states, control),
      control(resources->workers(), states, [this] { finish_lanes(); }) {}

void LoadHandle::State::end(std::unique_ptr<State> state) noexcept {
  if (state && state->owner != ::getpid()) static_cast<void>(state.release());
}

void LoadHandle::State::start(LoadSetup& setup) {
  try {
    if (!lanes.empty()) start_pumps();  // slots are filled while the arena is being reserved
    segments = setup.reserve(plan, lane_of);
    states.announce_arena(begins_of(segments));
    make_tensors();
  } catch (...) {
    control.fail(std::current_exception());
    control.wait();
    throw;
  }
  setup.keep();
  if (lanes.empty()) start_pumps();
}

void LoadHandle::State::make_tensors() {
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    const DeviceId device = lane_of[index] == nullptr ? DeviceId{} : lane_of[index]->backend()->id();
    tensors.push_back(make_list(plan.segments[index], *checkpoints[index], segments[index], device));
  }
}

void LoadHandle::State::start_pumps() {
  const std::size_t pumps = std::min<std::size_t>(resources->workers().size(), plan.batches.size());
  for (std::size_t index = 0; index < pumps; ++index) control.run([this] { delivery.pump(); });
}

// After the last pump: nothing more is sent.
void LoadHandle::State::finish_lanes() {
  for (const auto& lane : lanes) {
    try {
      lane->finish();
    } catch (...) {
      control.fail(std::current_exception());
    }
  }
}

bool LoadHandle::State::release_segment_until(std::size_t segment, std::chrono::steady_clock::time_point time) {
  states.mark_released(segment);
  if (!control.wait_segment_until(segment, time)) return false;
  if (control.stopped() && !control.wait_until(time)) return false;
  if (lane_of[segment] != nullptr) lane_of[segment]->drain();
  // What goes is destroyed outside the lock: it may be memory of the caller's.
  TensorList unwanted;
  std::shared_ptr<Segment> memory;
  const std::lock_guard lock(tensors_mutex);
  std::swap(tensors[segment], unwanted);
  std::swap(segments[segment], memory);
  return true;
}

}  // namespace warpload
