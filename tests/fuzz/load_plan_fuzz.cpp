// Plans for checkpoints of any sizes, dtypes, casts and limits: every tensor has its own bytes of the arena, and every
// byte of it is written once, from the tensor's own bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cpp/support/claimed_source.hpp"
#include "cpp/support/plans.hpp"
#include "fuzz/support.hpp"
#include "plan/load_plan.hpp"
#include "warpload/checkpoint.hpp"

namespace {

using namespace warpload;
using fuzz::Choices;
using fuzz::require;

DType any_dtype(Choices& choices) { return static_cast<DType>(choices.below(kDTypeCount)); }

std::shared_ptr<const ByteSource> any_file(Choices& choices, const std::string& prefix) {
  std::string header = "{";
  std::uint64_t end = 0;
  for (std::uint64_t count = choices.below(6), number = 0; number < count; ++number) {
    const DType dtype = any_dtype(choices);
    const std::uint64_t elements =
        choices.number() % (std::uint64_t{1} << 57) / 8 * 8 + (dtype_bits(dtype) < 8 ? 0 : choices.below(8));
    const std::uint64_t begin = end;
    if (elements > (UINT64_MAX - end - (1 << 20)) / 8) break;
    end += elements * dtype_bits(dtype) / 8;
    if (number != 0) header += ',';
    header += '"' + prefix + std::to_string(number) + R"(":{"dtype":")" + std::string(dtype_name(dtype)) +
              R"(","shape":[)" + std::to_string(elements) + R"(],"data_offsets":[)" + std::to_string(begin) + ',' +
              std::to_string(end) + "]}";
  }
  return std::make_shared<testing::ClaimedSource>(header + "}" + std::string(choices.below(9), ' '), end);
}

struct Request {
  SegmentRequest segment;
  FillRules rules;
};

Request any_request(Choices& choices) {
  std::vector<std::shared_ptr<const ByteSource>> files{any_file(choices, "a"), any_file(choices, "b")};
  Request request{{Checkpoint::from_sources(std::move(files)), {}}, {}};
  if (choices.below(2) == 1) request.segment.options.dtype = any_dtype(choices);
  request.rules.through_slots = choices.below(2) == 1;
  request.rules.segment_alignment = choices.below(2) == 1 ? kDeviceSegmentAlignment : kSegmentAlignment;
  if (choices.below(2) == 1) request.rules.device_casts = testing::all_pairs();
  return request;
}

// Large tensors are cut into few runs only: a plan has to fit in memory.
PlanLimits any_limits(Choices& choices, std::uint64_t bytes) {
  const std::uint64_t least = (bytes / 512 + 256) / 256 * 256;
  const auto limit = [&] { return least + 256 * choices.below(16); };
  return {.run_bytes = limit() + choices.below(256),
          .batch_bytes = limit(),
          .slot_bytes = limit(),
          .ramp_batches = choices.below(3),
          .ramp_bytes = limit()};
}

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

// The tensors' bytes of the arena; none overlaps another, all are aligned and inside.
Ranges ranges_of(const PlannedSegment& segment) {
  Ranges ranges;
  std::uint64_t end = 0;
  for (const PlannedTensor& tensor : segment.tensors) {
    require(tensor.backing == Backing::kArena && tensor.offset % kTensorAlignment == 0 && tensor.offset >= end);
    require(tensor.nbytes <= segment.arena_bytes && tensor.offset <= segment.arena_bytes - tensor.nbytes);
    end = tensor.offset + tensor.nbytes;
    if (tensor.nbytes != 0) ranges.emplace_back(tensor.offset, end);
  }
  return ranges;
}

// Bytes of an element of the result that lies at an offset of the arena.
std::uint64_t result_bytes_at(const PlannedSegment& segment, std::uint64_t offset) {
  for (const PlannedTensor& tensor : segment.tensors) {
    if (offset >= tensor.offset && offset - tensor.offset < tensor.nbytes) return dtype_bits(tensor.dtype) / 8;
  }
  std::abort();
}

// What the segment's runs write of the arena, where the host casts.
void add_written(const LoadPlan& plan, const PlannedSegment& segment, const ReadRun& run, std::uint64_t begin,
                 Ranges& written) {
  for (std::size_t number = 0; number < run.piece_count; ++number) {
    const Piece& piece = plan.pieces[run.first_piece + number];
    const std::uint64_t offset = begin + piece.destination_offset;
    const std::uint64_t each = piece.cast == nullptr ? 1 : result_bytes_at(segment, offset);
    require(piece.source_offset + piece.count <= run.source.size());
    written.emplace_back(offset, offset + piece.count * each);
  }
}

void check_batch(const LoadPlan& plan, const PlanLimits& limits, std::size_t number, const FillRules& rules,
                 Ranges& written) {
  const Batch& batch = plan.batches[number];
  require(batch.run_count != 0 && (batch.slot_bytes != 0) == rules.through_slots);
  require(batch.slot_bytes <= limits.slot_bytes);
  const PlannedSegment& segment = plan.segments[plan.runs[batch.first_run].segment];
  if (batch.cast_count == 0) {
    for (std::size_t run = 0; run < batch.run_count; ++run) {
      const std::uint64_t begin = rules.through_slots ? batch.destination_offset : 0;
      add_written(plan, segment, plan.runs[batch.first_run + run], begin, written);
    }
  }
  for (std::size_t cast = 0; cast < batch.cast_count; ++cast) {
    const DeviceCast& each = plan.casts[batch.first_cast + cast];
    require(each.slot_offset % kTensorAlignment == 0 && each.destination_offset % kTensorAlignment == 0);
    require(each.slot_offset + each.count * dtype_bits(each.source) / 8 <= batch.slot_bytes);
    const std::uint64_t bytes = each.count * dtype_bits(each.destination) / 8;
    written.emplace_back(each.destination_offset, each.destination_offset + bytes);
  }
}

// Ranges that touch as one, in order; padding between the tensors, which slots carry, belongs to nobody.
Ranges merged(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges result;
  for (const auto& [begin, end] : ranges) {
    require(begin < end && (result.empty() || result.back().second <= begin));  // written once
    if (!result.empty() && result.back().second == begin) {
      result.back().second = end;
    } else {
      result.emplace_back(begin, end);
    }
  }
  return result;
}

void check_plan(const LoadPlan& plan, const PlanLimits& limits, const std::vector<FillRules>& rules) {
  std::vector<Ranges> written(plan.segments.size());
  for (const ReadRun& run : plan.runs) require(run.source.size() != 0 && run.source.size() <= limits.run_bytes);
  for (std::size_t number = 0; number < plan.batches.size(); ++number) {
    const std::size_t segment = plan.runs[plan.batches[number].first_run].segment;
    check_batch(plan, limits, number, rules[segment], written[segment]);
  }
  std::uint64_t arena_bytes = 0;
  for (std::size_t segment = 0; segment < plan.segments.size(); ++segment) {
    require(plan.segments[segment].arena_bytes % rules[segment].segment_alignment == 0);
    require(merged(std::move(written[segment])) == merged(ranges_of(plan.segments[segment])));
    arena_bytes += plan.segments[segment].arena_bytes;
  }
  require(plan.arena_bytes == arena_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices({data, size});
  std::vector<SegmentRequest> requests;
  std::vector<FillRules> rules;
  std::uint64_t bytes = 0;
  for (std::uint64_t count = 1 + choices.below(2); count > 0; --count) {
    Request request = any_request(choices);
    for (const TensorInfo& tensor : request.segment.checkpoint->tensors()) bytes = std::max(bytes, tensor.range.size());
    requests.push_back(std::move(request.segment));
    rules.push_back(std::move(request.rules));
  }
  const PlanLimits limits = any_limits(choices, bytes);
  try {
    check_plan(testing::plan_of(requests, limits, rules), limits, rules);
  } catch (const OutOfMemoryError&) {
  } catch (const InvalidArgumentError& error) {
    require(error.reason().find("no cast from") != std::string::npos);
  }
  return 0;
}
