// The host's copy engine: read a run into a buffer that stays in the core's cache, cast from there into the
// arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "plan/load_plan.hpp"
#include "warpload/checkpoint.hpp"

namespace warpload {

// A worker's own buffer of one run. Threads: one worker at a time.
class HostCopier {
 public:
  explicit HostCopier(std::uint64_t run_bytes);

  // Reads the run's bytes from its shard and writes its pieces, cast, to the segment that begins at
  // `destination`. Throws IoError naming the shard, the range and the first tensor concerned.
  void copy(const LoadPlan& plan, const ReadRun& run, const Checkpoint& checkpoint, std::byte* destination);

 private:
  std::vector<std::byte> buffer_;
};

}  // namespace warpload
