#include <algorithm>
#include <exception>
#include <utility>

#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "load/host_copy.hpp"
#include "load/load_state.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// A tensor's share of a segment: the pages go back when the tensor does, the segment when the last of them
// does.
class SegmentShare {
 public:
  SegmentShare(std::shared_ptr<HostSegment> segment, std::uint64_t offset, std::uint64_t bytes) noexcept
      : segment_(std::move(segment)), offset_(offset), bytes_(bytes) {}
  SegmentShare(const SegmentShare&) = delete;
  SegmentShare& operator=(const SegmentShare&) = delete;
  ~SegmentShare() {
    // The last share leaves it to the segment's own unmapping.
    if (segment_.use_count() > 1) segment_->release_pages(offset_, bytes_);
  }

  [[nodiscard]] std::byte* data() const noexcept { return segment_->data() + offset_; }

 private:
  std::shared_ptr<HostSegment> segment_;
  std::uint64_t offset_;
  std::uint64_t bytes_;
};

std::shared_ptr<std::byte> arena_memory(const std::shared_ptr<HostSegment>& segment, const PlannedTensor& planned) {
  auto share = std::make_shared<SegmentShare>(segment, planned.offset, planned.nbytes);
  std::byte* data = share->data();
  return {std::move(share), data};
}

}  // namespace

LoadHandle::State::State(std::shared_ptr<ThreadPool> workers, const std::vector<SegmentRequest>& segment_requests,
                         DirectIo mode)
    : pool(std::move(workers)), direct_io(mode), plan(make_load_plan(segment_requests)), group(*pool) {
  for (const SegmentRequest& request : segment_requests) checkpoints.push_back(request.checkpoint);
  std::vector<std::uint64_t> sizes;
  for (const PlannedSegment& segment : plan.segments) sizes.push_back(segment.arena_bytes);
  segments = reserve_host_arena(sizes);
  runs_left = std::make_unique<std::atomic<std::size_t>[]>(plan.segments.size());
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    runs_left[index].store(plan.segments[index].run_count, std::memory_order_relaxed);
  }
  make_tensors();
}

void LoadHandle::State::make_tensors() {
  for (std::size_t index = 0; index < plan.segments.size(); ++index) {
    const Checkpoint& checkpoint = *checkpoints[index];
    std::vector<std::shared_ptr<const MappedFile>> mappings(checkpoint.shard_count());
    std::vector<Tensor>& result = tensors.emplace_back();
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
      result.emplace_back(info.name, planned.dtype, info.shape, std::move(memory), planned.nbytes);
    }
  }
}

void LoadHandle::State::start() {
  const std::size_t pumps = std::min<std::size_t>(pool->size(), plan.batches.size());
  for (std::size_t index = 0; index < pumps; ++index) group.run([this] { pump(); });
}

void LoadHandle::State::pump() {
  try {
    HostCopier copier(PlanLimits{}.run_bytes, direct_io);
    while (!group.stopping()) {
      const std::size_t batch = next_batch.fetch_add(1, std::memory_order_relaxed);
      if (batch >= plan.batches.size()) return;
      copy_batch(copier, plan.batches[batch]);
    }
  } catch (...) {
    group.fail(std::current_exception());
  }
  notify_segments();  // waiters of segments that will never be complete
}

void LoadHandle::State::copy_batch(HostCopier& copier, const Batch& batch) {
  for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
    if (group.stopping()) return;
    const ReadRun& run = plan.runs[index];
    copier.copy(plan, batch, index, *checkpoints[run.segment], segments[run.segment]->data());
    bytes_done.fetch_add(run.source.size(), std::memory_order_relaxed);
    if (runs_left[run.segment].fetch_sub(1, std::memory_order_acq_rel) == 1) notify_segments();
  }
}

void LoadHandle::State::notify_segments() const {
  // Taken and dropped so that no waiter is between its test and its sleep.
  {
    const std::lock_guard lock(segment_mutex);
  }
  segment_finished_or_failed.notify_all();
}

LoadHandle::LoadHandle(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
LoadHandle::LoadHandle(LoadHandle&&) noexcept = default;
LoadHandle& LoadHandle::operator=(LoadHandle&&) noexcept = default;
LoadHandle::~LoadHandle() = default;

bool LoadHandle::done() const noexcept { return state_->group.finished(); }
void LoadHandle::wait() const { state_->group.wait(); }
bool LoadHandle::wait_for(std::chrono::milliseconds timeout) const { return state_->group.wait_for(timeout); }

bool LoadHandle::wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const {
  if (segment >= state_->plan.segments.size()) throw InvalidArgumentError({.reason = "no such segment"});
  std::unique_lock lock(state_->segment_mutex);
  return state_->segment_finished_or_failed.wait_for(
      lock, timeout, [&] { return state_->segment_finished(segment) || state_->group.stopping(); });
}

LoadProgress LoadHandle::progress() const noexcept {
  return {state_->bytes_done.load(std::memory_order_relaxed), state_->plan.read_bytes};
}

void LoadHandle::cancel() noexcept {
  state_->group.fail(std::make_exception_ptr(CancelledError({.reason = "the load was cancelled"})));
  state_->notify_segments();
}

void LoadHandle::rethrow_if_failed() const {
  if (!state_->group.error()) return;
  state_->group.wait();  // drained before it is reported
  std::rethrow_exception(state_->group.error());
}

std::size_t LoadHandle::segment_count() const noexcept { return state_->plan.segments.size(); }

const std::vector<Tensor>& LoadHandle::tensors(std::size_t segment) const {
  if (segment >= state_->tensors.size()) throw InvalidArgumentError({.reason = "no such segment"});
  return state_->tensors[segment];
}

std::vector<std::vector<Tensor>> LoadHandle::get() const {
  wait();
  rethrow_if_failed();
  return state_->tensors;
}

}  // namespace warpload
