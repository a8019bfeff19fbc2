// The bits of a NaN in bf16. Constants only: files of every instruction set, and of the GPU, include this.
#pragma once

#include <cstdint>

#include "warpload/dtype.hpp"

namespace warpload::convert_internal {

// torch has two ways to round to bf16, and they write NaN differently: from fp32 and fp64 its vector code
// sets all bits; from the narrower types each element becomes the canonical quiet NaN.
template <DType kSource>
inline constexpr std::uint16_t kBf16NanBits = 0x7fc0U;
template <>
inline constexpr std::uint16_t kBf16NanBits<DType::f32> = 0xffffU;
template <>
inline constexpr std::uint16_t kBf16NanBits<DType::f64> = 0xffffU;

}  // namespace warpload::convert_internal
