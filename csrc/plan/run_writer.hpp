// Cuts tensors into the pieces of read runs.
#pragma once

#include <cstdint>

#include "plan/load_plan.hpp"

namespace warpload {

// The next multiple of `alignment`. Throws OutOfMemoryError when it does not fit in 64 bits.
[[nodiscard]] std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment);

// The sum. Throws OutOfMemoryError when it does not fit in 64 bits.
[[nodiscard]] std::uint64_t add_sizes(std::uint64_t left, std::uint64_t right);

// A tensor, or a part of one, on its way.
struct TensorPart {
  std::size_t shard = 0;
  ByteRange source = {};          // in the shard's file
  std::uint64_t destination = 0;  // offset of the first element
  CastFunction cast = nullptr;
  std::uint64_t source_bytes = 1;  // of an element, or a block, in the file; bytes are counted where there is no cast
  std::uint64_t result_bytes = 1;  // of the same in the arena
};

// Writes the runs of one segment; the last run stays open for what follows it in the file.
class RunWriter {
 public:
  RunWriter(LoadPlan& plan, const PlanLimits& limits, std::size_t segment) noexcept
      : plan_(plan), limits_(limits), segment_(segment), first_open_(plan.runs.size()) {}

  // Cuts the part into pieces of at most run_bytes, filling up the open run first when the file goes on where
  // that run ends.
  void add(const TensorPart& part);

  // What is added from here on is in another run: the batch before is full.
  void close() noexcept { first_open_ = plan_.runs.size(); }

 private:
  [[nodiscard]] ReadRun& open_run(std::size_t shard, std::uint64_t begin, std::uint64_t source_bytes);

  LoadPlan& plan_;
  const PlanLimits& limits_;
  std::size_t segment_;
  std::size_t first_open_;
};

}  // namespace warpload
