/// @file
/// Quantised tensors of GGUF files: blocks of numbers that share scales, packed into bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "warpload/dtype.hpp"
#include "warpload/export.h"

namespace warpload {

/// How the blocks of a quantised tensor are packed. The values are those of ggml and of GGUF files.
enum class BlockType : std::uint8_t {
  q4_0 = 2,      ///< 32 numbers of 4 bits, one scale.
  q4_1 = 3,      ///< 32 numbers of 4 bits, scale and minimum.
  q5_0 = 6,      ///< 32 numbers of 5 bits, one scale.
  q5_1 = 7,      ///< 32 numbers of 5 bits, scale and minimum.
  q8_0 = 8,      ///< 32 numbers of 8 bits, one scale.
  q8_1 = 9,      ///< 32 numbers of 8 bits, scale and sum.
  q2_k = 10,     ///< 256 numbers of 2 bits, 16 scales and minima.
  q3_k = 11,     ///< 256 numbers of 3 bits, 16 scales.
  q4_k = 12,     ///< 256 numbers of 4 bits, 8 scales and minima.
  q5_k = 13,     ///< 256 numbers of 5 bits, 8 scales and minima.
  q6_k = 14,     ///< 256 numbers of 6 bits, 16 scales.
  q8_k = 15,     ///< 256 numbers of 8 bits, one scale, 16 sums.
  iq2_xxs = 16,  ///< 256 numbers by a codebook, 2.06 bits each.
  iq2_xs = 17,   ///< 256 numbers by a codebook, 2.31 bits each.
  iq3_xxs = 18,  ///< 256 numbers by a codebook, 3.06 bits each.
  iq1_s = 19,    ///< 256 numbers by a codebook, 1.56 bits each.
  iq4_nl = 20,   ///< 32 numbers by a table of 16 values, one scale.
  iq3_s = 21,    ///< 256 numbers by a codebook, 3.44 bits each.
  iq2_s = 22,    ///< 256 numbers by a codebook, 2.56 bits each.
  iq4_xs = 23,   ///< 256 numbers by a table of 16 values, 8 scales.
  iq1_m = 29,    ///< 256 numbers by a codebook, 1.75 bits each.
  tq1_0 = 34,    ///< 256 numbers of three values, 1.69 bits each.
  tq2_0 = 35,    ///< 256 numbers of three values, 2.06 bits each.
  mxfp4 = 39,    ///< 32 floats of 4 bits, one scale of powers of two.
  nvfp4 = 40,    ///< 64 floats of 4 bits, 4 scales.
  q1_0 = 41,     ///< 128 signs, one scale.
};

/// The name of a block type as GGUF's tools write it: "Q4_K", "IQ4_NL" and so on. The view is of static storage and
/// ends with a zero byte.
[[nodiscard]] WARPLOAD_API std::string_view block_type_name(BlockType type) noexcept;

/// How many numbers one block stands for.
[[nodiscard]] WARPLOAD_API unsigned block_elements(BlockType type) noexcept;

/// How many bytes one block takes.
[[nodiscard]] WARPLOAD_API unsigned block_bytes(BlockType type) noexcept;

/// True when loads can turn blocks of the type into numbers of `destination`. They do it for Q4_0, Q4_1, Q5_0, Q5_1,
/// Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and IQ4_XS, to F16, BF16, F32 and F64.
[[nodiscard]] WARPLOAD_API bool is_dequantization_supported(BlockType type, DType destination) noexcept;

}  // namespace warpload
