#include "load/load_state.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/available_memory.hpp"
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

std::uint64_t wanted_events(const std::vector<SegmentRequest>& requests) {
  std::uint64_t wanted = 0;
  for (const SegmentRequest& request : requests) wanted = std::max(wanted, request.options.trace_events);
  return wanted;
}

// The ranges in the order of the file; those that touch are one.
std::vector<ByteRange> merged(std::vector<ByteRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](ByteRange a, ByteRange b) { return a.begin < b.begin; });
  std::vector<ByteRange> result;
  for (const ByteRange range : ranges) {
    if (!result.empty() && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

// The mappings of one segment's shards, made where a view needs one.
class Mappings {
 public:
  explicit Mappings(const Checkpoint& checkpoint) : checkpoint_(checkpoint), of_shard_(checkpoint.shard_count()) {}

  std::shared_ptr<std::byte> share(std::size_t shard, ByteRange range) {
    auto& mapping = of_shard_[shard];
    if (!mapping.file) mapping.file = MappedFile::map(*checkpoint_.file(shard));
    mapping.used.push_back(range);
    return {mapping.file, mapping.file->bytes().data() + range.begin};
  }

  // What of the files is going to be used, in the order of the shards.
  [[nodiscard]] std::vector<ViewPages> pages() const {
    std::vector<ViewPages> views;
    for (const Mapping& mapping : of_shard_) {
      if (mapping.file) views.push_back({mapping.file->pages(), merged(mapping.used)});
    }
    return views;
  }

 private:
  struct Mapping {
    std::shared_ptr<const MappedFile> file;
    std::vector<ByteRange> used;
  };

  const Checkpoint& checkpoint_;
  std::vector<Mapping> of_shard_;
};

// The tensors of one segment, each with its share of the memory.
TensorList make_list(const PlannedSegment& planned, const Checkpoint& checkpoint,
                     const std::shared_ptr<Segment>& segment, DeviceId device, Mappings& mappings) {
  std::vector<Tensor> result;
  result.reserve(planned.tensors.size());
  for (const PlannedTensor& tensor : planned.tensors) {
    const TensorInfo& info = checkpoint.tensors()[tensor.tensor];
    std::shared_ptr<std::byte> memory;
    if (tensor.nbytes != 0 && tensor.backing == Backing::kView) {
      memory = mappings.share(info.shard, {tensor.offset, tensor.offset + tensor.nbytes});
    } else if (tensor.nbytes != 0) {
      memory = share_segment(segment, tensor.offset, tensor.nbytes);
    }
    std::vector<std::uint64_t> shape = tensor.dtype == info.dtype ? info.shape : element_shape(info);
    result.emplace_back(info.name, tensor.dtype, std::move(shape), std::move(memory), tensor.nbytes, device);
  }
  return TensorList(std::move(result));
}

// Fewer bytes than these are not worth a thread.
constexpr std::uint64_t kLeastPopulated = std::uint64_t{2} << 20;

std::uint64_t total_of(const std::vector<ViewPages>& views) {
  std::uint64_t total = 0;
  for (const ViewPages& view : views) {
    for (const ByteRange range : view.ranges) total += range.size();
  }
  return total;
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
      trace(make_trace_ring(wanted_events(segment_requests), plan)),
      lanes(std::move(own_lanes.lanes)),
      lane_of(std::move(own_lanes.lane_of)),
      counters(std::make_shared<LoadCounters>(plan)),
      states(plan),
      delivery(plan, checkpoints, lane_of, resources->options().direct_io, *counters, states, control, trace.get()),
      control(resources->workers(), states, [this] { finish_lanes(); }) {}

void LoadHandle::State::end(std::unique_ptr<State> state) noexcept {
  if (!state) return;
  if (state->owner != ::getpid()) {
    static_cast<void>(state.release());
    return;
  }
  if (state->control.finished() && !state->control.stopped()) state->populate_views();
  state->resources->view_populator().hurry(state->populating);
  const std::shared_ptr<LoadCounters> counters = state->counters;
  state.reset();
  counters->end();
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
  if (plan.batches.empty()) populate_views();
}

void LoadHandle::State::make_tensors() {
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    const DeviceId device = lane_of[index] == nullptr ? DeviceId{} : lane_of[index]->backend()->id();
    Mappings mappings(*checkpoints[index]);
    tensors.push_back(make_list(plan.segments[index], *checkpoints[index], segments[index], device, mappings));
    for (ViewPages& pages : mappings.pages()) {
      pages.segment = index;
      views.push_back(std::move(pages));
    }
  }
}

// At once where the workers have nothing to do, else when all is over.
void LoadHandle::State::populate_views() noexcept try {
  const Populate wanted = resources->options().populate;
  if (wanted == Populate::kNever || total_of(views) < kLeastPopulated) return;
  populating =
      resources->view_populator().add(std::exchange(views, {}), populate_budget(wanted, available_memory()), trace);
} catch (const std::exception&) {  // no memory for the list: whoever uses the pages faults them in
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
