// The cast of a single element between two dtypes, by way of fp32: what the plain C++ casts and the CUDA kernels
// both do with every element.
//
// C++17, as elements.hpp and for its reasons; and as there, no file compiled for a special instruction set
// may include this.
#pragma once

#include <cstdint>

#include "convert/bf16_nan.hpp"
#include "convert/elements.hpp"
#include "warpload/dtype.hpp"

namespace warpload::elements {

// The unsigned integer that holds the bits of one element: Bits<DType::f16> is std::uint16_t.
template <DType kType>
struct BitsOf {
  using Type = std::uint16_t;
};
template <>
struct BitsOf<DType::f32> {
  using Type = std::uint32_t;
};
template <>
struct BitsOf<DType::f64> {
  using Type = std::uint64_t;
};
template <>
struct BitsOf<DType::f8_e4m3> {
  using Type = std::uint8_t;
};
template <>
struct BitsOf<DType::f8_e5m2> {
  using Type = std::uint8_t;
};
template <DType kType>
using Bits = typename BitsOf<kType>::Type;

// The bits of an element as those of an fp32 number (fp64: rounded to one).
template <DType kSource>
[[nodiscard]] constexpr std::uint32_t to_fp32(Bits<kSource> bits) noexcept {
  if constexpr (kSource == DType::f16) {
    return fp32_from_fp16(bits);
  } else if constexpr (kSource == DType::bf16) {
    return fp32_from_bf16(bits);
  } else if constexpr (kSource == DType::f32) {
    return bits;
  } else if constexpr (kSource == DType::f64) {
    return fp32_from_fp64(bits);
  } else if constexpr (kSource == DType::f8_e4m3) {
    return fp32_from_fp8_e4m3(bits);
  } else {
    static_assert(kSource == DType::f8_e5m2);
    return fp32_from_fp8_e5m2(bits);
  }
}

// The bits of an fp32 number as those of an element; a NaN in bf16 becomes `kNanBits`.
template <DType kDestination, std::uint16_t kNanBits>
[[nodiscard]] constexpr Bits<kDestination> from_fp32(std::uint32_t bits) noexcept {
  if constexpr (kDestination == DType::f16) {
    return fp16_from_fp32(bits);
  } else if constexpr (kDestination == DType::bf16) {
    return bf16_from_fp32(bits, kNanBits);
  } else if constexpr (kDestination == DType::f32) {
    return bits;
  } else {
    static_assert(kDestination == DType::f64);
    return fp64_from_fp32(bits);
  }
}

template <DType kSource, DType kDestination>
[[nodiscard]] constexpr Bits<kDestination> cast_element(Bits<kSource> bits) noexcept {
  return from_fp32<kDestination, convert_internal::kBf16NanBits<kSource>>(to_fp32<kSource>(bits));
}

}  // namespace warpload::elements
