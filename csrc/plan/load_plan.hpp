// Where every byte of a load comes from and goes to.
//
// Pure: a plan follows from its input alone. Nothing here reads a file, allocates an arena, asks a device or the
// caller, measures, locks or waits (the test planning_is_pure looks at what the compiled code refers to).
//
//   arena    | segment 0                                    | segment 1 ...
//            | tensor a |pad| tensor b      |pad| tensor c  |
//            ^ 2 MiB    ^ each tensor at a multiple of 256 bytes
//
//   file     ...| a | b      | c |...           no holes between tensors, so one run of bytes can serve many
//               [---- run 0 ----)[- run 1 -)    at most `run_bytes` each, cut between elements, or blocks
//                piece 0, piece 1, piece 2      what one run holds of each tensor
//
// A segment on a device is filled through slots, each of which goes out as one copy:
//
//   slot     | a |0| b      |0| c.. |      an image of the arena, padding (zeros) included
//   arena    | a | | b      | | c.. | c.. | d | ...
//            [------ batch 0 -------)[-- batch 1 --
//
// Where the device casts, the slot holds the tensors' bytes as they are in the file, each at a multiple of 256 bytes;
// it goes to a staging buffer, and a kernel a tensor casts from there into the arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "convert/cast.hpp"
#include "plan/plan_input.hpp"
#include "warpload/arena.hpp"
#include "warpload/error.hpp"

namespace warpload {

// What memory a tensor lies in.
enum class Backing : std::uint8_t {
  kView,   // zero-copy: bytes of the file's private mapping
  kArena,  // copied, and cast where the dtype differs
};

struct PlannedTensor {
  std::size_t tensor = 0;  // position in the checkpoint's tensors()
  DType dtype = DType::u8;
  Backing backing = Backing::kArena;
  std::uint64_t offset = 0;  // kView: in the shard's file; kArena: from the segment's begin
  std::uint64_t nbytes = 0;  // of the result
};

// A part of one tensor inside one read run.
struct Piece {
  std::uint64_t source_offset = 0;       // from the run's begin
  std::uint64_t destination_offset = 0;  // from the segment's begin; where there are slots, from the slot's
  std::uint64_t count = 0;               // elements (of a quantised tensor: blocks) where `cast` is set, else bytes
  CastFunction cast = nullptr;
};

struct ReadRun {
  std::size_t segment = 0;
  std::size_t shard = 0;
  ByteRange source;  // absolute offsets in the shard's file
  std::size_t first_piece = 0;
  std::size_t piece_count = 0;
};

// A part of one tensor that the device casts.
struct DeviceCast {
  std::uint64_t slot_offset = 0;         // a multiple of 256, as the next one
  std::uint64_t destination_offset = 0;  // from the segment's begin
  std::uint64_t count = 0;               // elements
  DType source = DType::u8;
  DType destination = DType::u8;
};

// Consecutive runs that one worker takes at once. Straight into the arena: long enough that two workers seldom fault
// the same huge page. Through a slot: what fits into one.
struct Batch {
  std::size_t first_run = 0;
  std::size_t run_count = 0;
  std::uint64_t slot_bytes = 0;          // how much of a slot it fills; 0: straight into the arena
  std::uint64_t destination_offset = 0;  // from the segment's begin, where the slot's bytes go unless there are casts
  std::size_t first_cast = 0;
  std::size_t cast_count = 0;
};

struct PlannedSegment {
  std::uint64_t arena_bytes = 0;  // 0 when every tensor is a view
  std::uint64_t read_bytes = 0;   // what the runs read
  std::size_t run_count = 0;
  std::vector<PlannedTensor> tensors;  // in the checkpoint's order
};

struct LoadPlan {
  std::vector<PlannedSegment> segments;  // in the order of the input
  std::vector<ReadRun> runs;             // by segment, then by arena offset
  std::vector<Piece> pieces;
  std::vector<DeviceCast> casts;
  std::vector<Batch> batches;
  std::uint64_t arena_bytes = 0;
  std::uint64_t read_bytes = 0;
};

struct PlanLimits {
  std::uint64_t run_bytes = std::uint64_t{512} << 10;  // stays in a core's own cache between read and cast
  std::uint64_t batch_bytes = std::uint64_t{8} << 20;  // of the destination
  std::uint64_t slot_bytes = std::uint64_t{4} << 20;   // a multiple of 256
  // As many of a plan's first slots are filled only this far, one a worker: the first copies start early.
  std::size_t ramp_batches = 0;
  std::uint64_t ramp_bytes = std::uint64_t{1} << 20;  // a multiple of 256
};

// Plans the segments of one load, in this order. Throws OutOfMemoryError when the sizes do not fit in 64 bits.
[[nodiscard]] LoadPlan make_load_plan(std::span<const SegmentInput> segments, const PlanLimits& limits = {});

}  // namespace warpload
