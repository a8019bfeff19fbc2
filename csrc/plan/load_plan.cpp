#include "plan/load_plan.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "plan/slot_layout.hpp"

namespace warpload {
namespace {

DType target_dtype(const SegmentOptions& options, const TensorInfo& tensor) {
  if (const auto found = options.tensor_dtypes.find(tensor.name); found != options.tensor_dtypes.end()) {
    return found->second;
  }
  if (options.dtype && is_floating_point(tensor.dtype)) return *options.dtype;
  return tensor.dtype;
}

bool is_wanted(const SegmentOptions& options, const TensorInfo& tensor) {
  if (options.only && !options.only->contains(tensor.name)) return false;
  return !options.filter || options.filter(tensor);
}

void check_names(const SegmentRequest& request) {
  if (!request.checkpoint) throw InvalidArgumentError({.reason = "a segment request without a checkpoint"});
  const auto check = [&](const std::string& name) {
    if (request.checkpoint->find(name) == nullptr) {
      throw InvalidArgumentError({.reason = "the request names a tensor that the checkpoint lacks", .tensor = name});
    }
  };
  const SegmentOptions& options = request.options;
  for (const auto& [name, dtype] : options.tensor_dtypes) check(name);
  if (options.only) std::for_each(options.only->begin(), options.only->end(), check);
}

CastFunction cast_of(const SegmentRequest& request, const TensorInfo& tensor, DType dtype) {
  if (dtype == tensor.dtype) return nullptr;
  const CastFunction cast = find_cast(tensor.dtype, dtype);
  if (cast != nullptr) return cast;
  throw InvalidArgumentError(
      {.reason = "no cast from " + std::string(dtype_name(tensor.dtype)) + " to " + std::string(dtype_name(dtype)),
       .path = request.checkpoint->shard_path(tensor.shard),
       .tensor = tensor.name});
}

bool can_be_view(const SegmentRequest& request, const TensorInfo& tensor) {
  const bool aligned = tensor.range.begin % dtype_alignment(tensor.dtype) == 0;
  return request.options.zero_copy && aligned && request.checkpoint->file(tensor.shard) != nullptr;
}

// Adds one segment after the other.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanLimits& limits) : limits_(limits) {}

  void add_segment(const SegmentRequest& request, const Delivery& delivery) {
    check_names(request);
    PlannedSegment segment;
    RunWriter runs(plan_, limits_, plan_.segments.size());
    SlotLayout slots(plan_, limits_, runs);
    const std::size_t first_run = plan_.runs.size();
    const auto& tensors = request.checkpoint->tensors();
    for (std::size_t position = 0; position < tensors.size(); ++position) {
      const TensorInfo& tensor = tensors[position];
      if (!is_wanted(request.options, tensor)) continue;
      const DType dtype = target_dtype(request.options, tensor);
      const CastFunction cast = cast_of(request, tensor, dtype);
      if (!delivery.through_slots && delivery.may_map && cast == nullptr && can_be_view(request, tensor)) {
        segment.tensors.push_back({position, dtype, Placement::kView, tensor.range.begin, tensor.range.size()});
        continue;
      }
      const TensorPart whole = place(segment, position, tensor, dtype, cast);
      if (!delivery.through_slots) {
        runs.add(whole);
      } else if (cast != nullptr && delivery.device_casts && delivery.device_casts(tensor.dtype, dtype)) {
        slots.add_for_device_cast(whole, tensor.dtype, dtype);
      } else {
        slots.add(whole);
      }
    }
    segment.arena_bytes = align_up(segment.arena_bytes, delivery.segment_alignment);
    segment.run_count = plan_.runs.size() - first_run;
    for (std::size_t run = first_run; run < plan_.runs.size(); ++run)
      segment.read_bytes += plan_.runs[run].source.size();
    if (!delivery.through_slots) add_batches(first_run);
    finish(std::move(segment));
  }

  [[nodiscard]] LoadPlan finish() { return std::move(plan_); }

 private:
  // Gives the tensor its place in the arena.
  TensorPart place(PlannedSegment& segment, std::size_t position, const TensorInfo& tensor, DType dtype,
                   CastFunction cast) const {
    TensorPart part{.shard = tensor.shard, .source = tensor.range, .cast = cast};
    if (cast != nullptr) {
      part.source_bytes = dtype_bits(tensor.dtype) / 8;
      part.result_bytes = dtype_bits(dtype) / 8;
    }
    const std::uint64_t count = tensor.range.size() / part.source_bytes;
    if (count > (std::numeric_limits<std::uint64_t>::max() >> 8) / part.result_bytes) {
      throw OutOfMemoryError({.reason = "the cast tensor does not fit in 64 bits of address", .tensor = tensor.name});
    }
    part.destination = align_up(segment.arena_bytes, kTensorAlignment);
    segment.arena_bytes = add_sizes(part.destination, count * part.result_bytes);
    segment.tensors.push_back({position, dtype, Placement::kArena, part.destination, count * part.result_bytes});
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

LoadPlan make_load_plan(std::span<const SegmentRequest> requests, const PlanLimits& limits,
                        std::span<const Delivery> deliveries) {
  PlanBuilder builder(limits);
  for (std::size_t index = 0; index < requests.size(); ++index) {
    builder.add_segment(requests[index], deliveries.empty() ? Delivery{} : deliveries[index]);
  }
  return builder.finish();
}

}  // namespace warpload
