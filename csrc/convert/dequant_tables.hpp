// The tables of what dequantises, one an instruction set, that dequant.cpp chooses from.
#pragma once

#include <cstddef>

#include "convert/cast_tables.hpp"
#include "warpload/block_type.hpp"

namespace warpload::convert_internal {

inline constexpr BlockType kDequantTypes[] = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,   BlockType::q5_1,
                                              BlockType::q8_0, BlockType::q2_k, BlockType::q3_k,   BlockType::q4_k,
                                              BlockType::q5_k, BlockType::q6_k, BlockType::iq4_nl, BlockType::iq4_xs};
inline constexpr std::size_t kDequantTypeCount = sizeof(kDequantTypes) / sizeof(kDequantTypes[0]);

// rows[t].functions[d] turns blocks of kDequantTypes[t] into kCastDestinations[d]. Plain arrays, as CastTable and for
// its reason.
struct DequantTable {
  CastRow rows[kDequantTypeCount];
};

[[nodiscard]] const DequantTable& scalar_dequant_table() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const DequantTable& avx2_dequant_table() noexcept;
[[nodiscard]] const DequantTable& avx512_dequant_table() noexcept;
#elif defined(__aarch64__)
[[nodiscard]] const DequantTable& neon_dequant_table() noexcept;
#endif

}  // namespace warpload::convert_internal
