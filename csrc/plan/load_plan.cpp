#include "plan/load_plan.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace warpload {
namespace {

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  if (value > std::numeric_limits<std::uint64_t>::max() - (alignment - 1)) {
    throw OutOfMemoryError({.reason = "the checkpoint's tensors do not fit in 64 bits of address"});
  }
  return (value + alignment - 1) / alignment * alignment;
}

// The number of elements; the header's validation has shown that the product fits.
std::uint64_t element_count(const TensorInfo& tensor) { return tensor.range.size() * 8 / dtype_bits(tensor.dtype); }

DType target_dtype(const SegmentRequest& request, const TensorInfo& tensor) {
  if (const auto found = request.tensor_dtypes.find(tensor.name); found != request.tensor_dtypes.end()) {
    return found->second;
  }
  if (request.dtype && is_floating_point(tensor.dtype)) return *request.dtype;
  return tensor.dtype;
}

void check_names(const SegmentRequest& request) {
  if (!request.checkpoint) throw InvalidArgumentError({.reason = "a segment request without a checkpoint"});
  const auto check = [&](const std::string& name) {
    if (request.checkpoint->find(name) == nullptr) {
      throw InvalidArgumentError({.reason = "the request names a tensor that the checkpoint lacks", .tensor = name});
    }
  };
  for (const auto& [name, dtype] : request.tensor_dtypes) check(name);
  if (request.only) std::for_each(request.only->begin(), request.only->end(), check);
}

// Adds one segment after the other; keeps the run that the next tensor may still extend.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanLimits& limits) : limits_(limits) {}

  void add_segment(const SegmentRequest& request) {
    check_names(request);
    segment_ = PlannedSegment{};
    const std::size_t first_run = plan_.runs.size();
    const auto& tensors = request.checkpoint->tensors();
    for (std::size_t position = 0; position < tensors.size(); ++position) {
      if (request.only && !request.only->contains(tensors[position].name)) continue;
      add_tensor(request, position, tensors[position]);
    }
    segment_.arena_bytes = align_up(segment_.arena_bytes, kSegmentAlignment);
    segment_.run_count = plan_.runs.size() - first_run;
    plan_.arena_bytes += segment_.arena_bytes;
    plan_.read_bytes += segment_.read_bytes;
    add_batches(first_run);
    plan_.segments.push_back(std::move(segment_));
  }

  [[nodiscard]] LoadPlan finish() { return std::move(plan_); }

 private:
  void add_tensor(const SegmentRequest& request, std::size_t position, const TensorInfo& tensor) {
    const DType dtype = target_dtype(request, tensor);
    const CastFunction cast = dtype == tensor.dtype ? nullptr : find_cast(tensor.dtype, dtype);
    if (dtype != tensor.dtype && cast == nullptr) {
      throw InvalidArgumentError(
          {.reason = "no cast from " + std::string(dtype_name(tensor.dtype)) + " to " + std::string(dtype_name(dtype)),
           .path = request.checkpoint->shard_path(tensor.shard),
           .tensor = tensor.name});
    }
    const bool aligned = tensor.range.begin % dtype_alignment(tensor.dtype) == 0;
    const bool mappable = request.checkpoint->file(tensor.shard) != nullptr;
    if (cast == nullptr && request.zero_copy && aligned && mappable) {
      segment_.tensors.push_back({position, dtype, Placement::kView, tensor.range.begin, tensor.range.size()});
      return;
    }
    const std::uint64_t count = cast == nullptr ? tensor.range.size() : element_count(tensor);
    const std::uint64_t element = cast == nullptr ? 1 : dtype_bits(dtype) / 8;
    if (count > (std::numeric_limits<std::uint64_t>::max() >> 8) / element) {
      throw OutOfMemoryError({.reason = "the cast tensor does not fit in 64 bits of address", .tensor = tensor.name});
    }
    const std::uint64_t offset = align_up(segment_.arena_bytes, kTensorAlignment);
    segment_.tensors.push_back({position, dtype, Placement::kArena, offset, count * element});
    segment_.arena_bytes = offset + count * element;
    add_pieces(tensor, offset, cast, element);
  }

  // Cuts one tensor into pieces, filling up the open run first when the file goes on where that run ends.
  void add_pieces(const TensorInfo& tensor, std::uint64_t offset, CastFunction cast, std::uint64_t result_bytes) {
    const std::uint64_t source_bytes = cast == nullptr ? 1 : dtype_bits(tensor.dtype) / 8;
    std::uint64_t begin = tensor.range.begin;
    while (begin < tensor.range.end) {
      ReadRun& run = open_run(tensor.shard, begin, source_bytes);
      const std::uint64_t room = (limits_.run_bytes - run.source.size()) / source_bytes;
      const std::uint64_t count = std::min(room, (tensor.range.end - begin) / source_bytes);
      plan_.pieces.push_back({run.source.size(), offset, count, cast});
      ++run.piece_count;
      run.source.end += count * source_bytes;
      begin += count * source_bytes;
      offset += count * result_bytes;
      segment_.read_bytes += count * source_bytes;
    }
  }

  ReadRun& open_run(std::size_t shard, std::uint64_t begin, std::uint64_t source_bytes) {
    const std::size_t segment = plan_.segments.size();
    if (!plan_.runs.empty()) {
      ReadRun& last = plan_.runs.back();
      const bool continues = last.segment == segment && last.shard == shard && last.source.end == begin;
      if (continues && last.source.size() + source_bytes <= limits_.run_bytes) return last;
    }
    plan_.runs.push_back({segment, shard, {begin, begin}, plan_.pieces.size(), 0});
    return plan_.runs.back();
  }

  void add_batches(std::size_t first_run) {
    std::uint64_t batch_begin = 0;  // offset in the segment
    for (std::size_t run = first_run; run < plan_.runs.size(); ++run) {
      const std::uint64_t offset = plan_.pieces[plan_.runs[run].first_piece].destination_offset;
      if (run == first_run || offset - batch_begin >= limits_.batch_bytes) {
        plan_.batches.push_back({run, 0});
        batch_begin = offset;
      }
      ++plan_.batches.back().run_count;
    }
  }

  PlanLimits limits_;
  LoadPlan plan_;
  PlannedSegment segment_;
};

}  // namespace

LoadPlan make_load_plan(std::span<const SegmentRequest> requests, const PlanLimits& limits) {
  PlanBuilder builder(limits);
  for (const SegmentRequest& request : requests) builder.add_segment(request);
  return builder.finish();
}

}  // namespace warpload
