// The host's copy engine: read a run into a buffer that stays in the core's cache, cast from there
// into the arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/range_reader.hpp"
#include "load/read_timer.hpp"
#include "load/trace_ring.hpp"
#include "plan/load_plan.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/error.hpp"

namespace warpload {

// A source knows its path and the bytes, a device only itself; which tensor they were to become is known here.
[[noreturn]] void rethrow_with_tensor(const IoError& error, const Checkpoint& checkpoint, const ReadRun& run);
[[noreturn]] void rethrow_with_tensor(const DeviceError& error, const Checkpoint& checkpoint, const ReadRun& run);

// A worker's own buffers and reader. The checkpoints, the clock and the pen, which notes what it does, must outlive it.
// Threads: the worker that made it.
class HostCopier {
 public:
  HostCopier(std::uint64_t run_bytes, DirectIo mode, LoadClock& clock, TracePen& pen);

  // Reads the bytes of the run at `run_index` of the plan, one of `batch`, from its shard and writes its pieces, cast,
  // to the segment that begins at `destination`. The batch's following runs are expected next. Throws IoError naming
  // the shard, the range and the first tensor concerned.
  void copy(const LoadPlan& plan, const Batch& batch, std::size_t run_index, const Checkpoint& checkpoint,
            std::byte* destination);

  // Reads a whole batch whose bytes lie in the slot as they do in their file, past the page cache and straight into
  // the slot, when they are not in it. Returns where in the slot they begin; nothing when the batch is to be copied
  // run by run.
  [[nodiscard]] std::optional<std::size_t> read_straight(const LoadPlan& plan, const Batch& batch,
                                                         const Checkpoint& checkpoint, std::span<std::byte> slot);

 private:
  [[nodiscard]] std::span<const std::byte> read(const LoadPlan& plan, const Batch& batch, std::size_t run_index,
                                                const Checkpoint& checkpoint, std::byte* destination);

  RangeReader reader_;
  ReadTimer timer_;
  std::vector<std::byte> buffer_;
  TracePen& pen_;
};

}  // namespace warpload
