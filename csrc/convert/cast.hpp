// Element-wise casts between floating-point types, bit-identical to torch.Tensor.to on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "warpload/dtype.hpp"

namespace warpload {

// Instruction sets that a cast may use. kScalar is plain C++ and always available.
enum class SimdLevel : std::uint8_t { kScalar, kAvx2, kAvx512, kNeon };

// Reads `count` elements at `source` and writes `count` elements at `destination`. The two do not overlap; neither
// pointer needs any alignment (a tensor in a file may start at any byte). Never throws, touches nothing else.
using CastFunction = void (*)(const std::byte* source, std::byte* destination, std::size_t count) noexcept;

// The best level that this processor and this build support; found once, thread-safe.
[[nodiscard]] SimdLevel best_simd_level() noexcept;

// The cast from `source` to `destination`, or nullptr when the pair is not supported (see is_cast_supported).
// Precondition: the processor runs `level`: kScalar, the best one, or kAvx2 where that is kAvx512.
[[nodiscard]] CastFunction find_cast(DType source, DType destination, SimdLevel level = best_simd_level()) noexcept;

}  // namespace warpload
