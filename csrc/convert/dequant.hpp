// Blocks of quantised numbers as floating-point numbers, bit-identical to the gguf package's dequantize(), which
// computes in fp32, and that rounded as torch.Tensor.to rounds on the CPU.
#pragma once

#include "convert/cast.hpp"
#include "warpload/block_type.hpp"
#include "warpload/dtype.hpp"

namespace warpload {

// What turns blocks of `type` into numbers of `destination`, or nullptr where that is not supported (see
// is_dequantization_supported). The function's count is one of blocks. Precondition: as for find_cast.
[[nodiscard]] CastFunction find_dequantization(BlockType type, DType destination,
                                               SimdLevel level = best_simd_level()) noexcept;

}  // namespace warpload
