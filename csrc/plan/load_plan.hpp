// Where every byte of a load comes from and goes to. Pure: reads no file, allocates no arena.
//
//   arena    | segment 0                                    | segment 1 ...
//            | tensor a |pad| tensor b      |pad| tensor c  |
//            ^ 2 MiB    ^ each tensor at a multiple of 256 bytes
//
//   file     ...| a | b      | c |...      safetensors leaves no holes, so one read run can serve many
//   tensors:
//               [---- run 0 ----)[- run 1 -)    at most `run_bytes` each, cut between elements
//                 piece 0, piece 1, piece 2      what one run holds of each tensor
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "convert/cast.hpp"
#include "warpload/loader.hpp"

namespace warpload {

inline constexpr std::uint64_t kTensorAlignment = 256;
inline constexpr std::uint64_t kSegmentAlignment = std::uint64_t{2} << 20;  // a huge page

enum class Placement : std::uint8_t {
  kView,   // zero-copy: bytes of the file's private mapping
  kArena,  // copied, and cast where the dtype differs
};

struct PlannedTensor {
  std::size_t tensor = 0;  // position in the checkpoint's tensors()
  DType dtype = DType::u8;
  Placement placement = Placement::kArena;
  std::uint64_t offset = 0;  // kView: in the shard's file; kArena: from the segment's begin
  std::uint64_t nbytes = 0;  // of the result
};

// A part of one tensor inside one read run.
struct Piece {
  std::uint64_t source_offset = 0;       // from the run's begin
  std::uint64_t destination_offset = 0;  // from the segment's begin
  std::uint64_t count = 0;               // elements where `cast` is set, else bytes
  CastFunction cast = nullptr;
};

struct ReadRun {
  std::size_t segment = 0;
  std::size_t shard = 0;
  ByteRange source;  // absolute offsets in the shard's file
  std::size_t first_piece = 0;
  std::size_t piece_count = 0;
};

// Consecutive runs that one worker takes at once: long enough that two workers seldom fault the same huge
// page.
struct Batch {
  std::size_t first_run = 0;
  std::size_t run_count = 0;
};

struct PlannedSegment {
  std::uint64_t arena_bytes = 0;  // 0 when every tensor is a view
  std::uint64_t read_bytes = 0;   // what the runs read
  std::size_t run_count = 0;
  std::vector<PlannedTensor> tensors;  // in the checkpoint's order
};

struct LoadPlan {
  std::vector<PlannedSegment> segments;  // one a request, same order
  std::vector<ReadRun> runs;             // by segment, then by arena offset
  std::vector<Piece> pieces;
  std::vector<Batch> batches;
  std::uint64_t arena_bytes = 0;
  std::uint64_t read_bytes = 0;
};

struct PlanLimits {
  std::uint64_t run_bytes = std::uint64_t{512} << 10;  // stays in a core's own cache between read and cast
  std::uint64_t batch_bytes = std::uint64_t{8} << 20;  // of the destination
};

// Throws InvalidArgumentError for a cast that is not supported, a name in `only` or `tensor_dtypes` that the
// checkpoint lacks, or a missing checkpoint, and OutOfMemoryError when the sizes do not fit in 64 bits.
[[nodiscard]] LoadPlan make_load_plan(std::span<const SegmentRequest> requests, const PlanLimits& limits = {});

}  // namespace warpload
