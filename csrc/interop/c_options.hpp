// The options of the C interface as those of C++.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "warpload/load_options.hpp"
#include "warpload/warpload.h"

namespace warpload::c_interface {

// Memory of the caller's. From keep() on, the end of this object releases it.
class LentMemory {
 public:
  explicit LentMemory(const warpload_memory& memory) noexcept : memory_(memory) {}
  LentMemory(const LentMemory&) = delete;
  LentMemory& operator=(const LentMemory&) = delete;
  ~LentMemory() {
    if (kept_ && memory_.release != nullptr) memory_.release(memory_.release_data);
  }

  void keep() noexcept { kept_ = true; }

 private:
  const warpload_memory memory_;
  bool kept_ = false;
};

struct LoadRequest {
  SegmentOptions segment;
  std::shared_ptr<LentMemory> memory;  // the arena's owner, or null
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

// All three throw InvalidArgumentError; null options are the defaults.

// Throws DeviceError, too.
[[nodiscard]] LoaderOptions read_loader_options(const warpload_loader_options* options);

// Without the memory.
[[nodiscard]] SegmentOptions read_segment_options(const warpload_load_options* options, const Checkpoint& checkpoint);

// With the memory, on that device. A deadline counts from this call.
[[nodiscard]] LoadRequest read_load_options(const warpload_load_options* options, const Checkpoint& checkpoint,
                                            const Device& device);

}  // namespace warpload::c_interface
