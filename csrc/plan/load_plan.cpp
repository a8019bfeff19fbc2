#include "plan/load_plan.hpp"

#include <limits>
#include <utility>

#include "plan/slot_layout.hpp"

namespace warpload {
namespace {

// Adds one segment after the other.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanLimits& limits) : limits_(limits) {}

  void add_segment(const SegmentInput& input) {
    const FillRules& rules = input.rules;
    PlannedSegment segment;
    RunWriter runs(plan_, limits_, plan_.segments.size());
    SlotLayout slots(plan_, limits_, runs);
    const std::size_t first_run = plan_.runs.size();
    for (const ChosenTensor& tensor : input.tensors) {
      const ByteRange range = tensor.info->range;
      if (!rules.through_slots && rules.may_map && tensor.may_be_view) {
        segment.tensors.push_back({tensor.position, tensor.dtype, Backing::kView, range.begin, range.size()});
        continue;
      }
      const TensorPart whole = add_to_arena(segment, tensor);
      if (!rules.through_slots) {
        runs.add(whole);
      } else if (tensor.cast != nullptr && rules.device_casts.contains({tensor.info->dtype, tensor.dtype})) {
        slots.add_for_device_cast(whole, tensor.info->dtype, tensor.dtype);
      } else {
        slots.add(whole);
      }
    }
    segment.arena_bytes = align_up(segment.arena_bytes, rules.segment_alignment);
    segment.run_count = plan_.runs.size() - first_run;
    for (std::size_t run = first_run; run < plan_.runs.size(); ++run)
      segment.read_bytes += plan_.runs[run].source.size();
    if (!rules.through_slots) add_batches(first_run);
    finish(std::move(segment));
  }

  [[nodiscard]] LoadPlan finish() { return std::move(plan_); }

 private:
  // Gives the tensor its bytes of the segment: the next ones that are aligned.
  TensorPart add_to_arena(PlannedSegment& segment, const ChosenTensor& tensor) const {
    const TensorInfo& info = *tensor.info;
    TensorPart part{.shard = info.shard, .source = info.range, .cast = tensor.cast};
    if (tensor.cast != nullptr) {
      part.source_bytes = tensor.source_bytes;
      part.result_bytes = tensor.result_bytes;
    }
    const std::uint64_t count = info.range.size() / part.source_bytes;
    if (count > (std::numeric_limits<std::uint64_t>::max() >> 8) / part.result_bytes) {
      throw OutOfMemoryError({.reason = "the cast tensor does not fit in 64 bits of address", .tensor = info.name});
    }
    const std::uint64_t bytes = count * part.result_bytes;
    part.destination = align_up(segment.arena_bytes, kTensorAlignment);
    segment.arena_bytes = add_sizes(part.destination, bytes);
    segment.tensors.push_back({tensor.position, tensor.dtype, Backing::kArena, part.destination, bytes});
    return part;
  }

  void add_batches(std::size_t first_run) {
    std::uint64_t batch_begin = 0;  // offset in the segment
    for (std::size_t run = first_run; run < plan_.runs.size(); ++run) {
      const std::uint64_t offset = plan_.pieces[plan_.runs[run].first_piece].destination_offset;
      if (run == first_run || offset - batch_begin >= limits_.batch_bytes) {
        plan_.batches.push_back({.first_run = run});
        batch_begin = offset;
      }
      ++plan_.batches.back().run_count;
    }
  }

  void finish(PlannedSegment segment) {
    plan_.arena_bytes = add_sizes(plan_.arena_bytes, segment.arena_bytes);
    plan_.read_bytes = add_sizes(plan_.read_bytes, segment.read_bytes);
    plan_.segments.push_back(std::move(segment));
  }

  PlanLimits limits_;
  LoadPlan plan_;
};

}  // namespace

LoadPlan make_load_plan(std::span<const SegmentInput> segments, const PlanLimits& limits) {
  PlanBuilder builder(limits);
  for (const SegmentInput& segment : segments) builder.add_segment(segment);
  return builder.finish();
}

}  // namespace warpload
