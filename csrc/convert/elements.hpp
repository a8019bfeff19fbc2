// Casts of a single element, in plain C++ on bit patterns: the definition of right that every faster
// path must meet.
//
// Bit patterns (not float objects) travel between the steps, and the steps are integer arithmetic, so that no
// NaN changes on the way unless a step says so and every machine gives the same bits: a GPU's own conversions
// would replace each NaN by its canonical one. Everything is constexpr, which is how nvcc lets device code call
// it, and C++17, which every nvcc knows.
//
// Include this only where no special instruction set is compiled for: inline functions of a file compiled with
// -mavx512f could otherwise be the ones that the linker keeps for every file.
#pragma once

#include <cstdint>

namespace warpload::elements {

inline constexpr std::uint32_t kFp32ExponentMask = 0x7f800000U;
inline constexpr std::uint32_t kFp32MagnitudeMask = 0x7fffffffU;
inline constexpr std::uint32_t kFp32QuietNan = 0x7fc00000U;
inline constexpr unsigned kFp32MantissaBits = 23;
inline constexpr int kFp32Bias = 127;
inline constexpr std::uint64_t kFp64ExponentMask = 0x7ff0000000000000U;
inline constexpr std::uint64_t kFp64MagnitudeMask = 0x7fffffffffffffffU;
inline constexpr std::uint64_t kFp64QuietNan = 0x7ff8000000000000U;
inline constexpr unsigned kFp64MantissaBits = 52;
inline constexpr unsigned kFp64ExtraMantissaBits = kFp64MantissaBits - kFp32MantissaBits;
inline constexpr std::uint64_t kFp64Rebias = 0x3800000000000000U;  // (1023 - 127) as an exponent of fp64

[[nodiscard]] constexpr bool is_fp32_nan(std::uint32_t bits) noexcept {
  return (bits & kFp32MagnitudeMask) > kFp32ExponentMask;
}

// value / 2^shift to the nearest integer, ties to even. 1 <= shift, less than the bits of Unsigned, which
// value + 2^(shift-1) fits.
template <class Unsigned>
[[nodiscard]] constexpr Unsigned shift_right_to_nearest_even(Unsigned value, unsigned shift) noexcept {
  const Unsigned just_under_half = (Unsigned{1} << (shift - 1U)) - 1U;
  const Unsigned odd = (value >> shift) & 1U;
  return (value + just_under_half + odd) >> shift;
}

// How far the mantissa of a subnormal number (not zero) moves left for its leading one to stand where the
// implicit one of a normal number does.
[[nodiscard]] constexpr int shift_to_normal(std::uint32_t mantissa, unsigned mantissa_bits) noexcept {
  return __builtin_clz(mantissa) - static_cast<int>(31U - mantissa_bits);
}

// The fp32 pattern of a sign-exponent-mantissa number with an IEEE bias, every exponent taken as finite
// (exact: fp32 holds them all as normal numbers).
template <unsigned kExponentBits, unsigned kMantissaBits>
[[nodiscard]] constexpr std::uint32_t expand_finite(std::uint32_t bits) noexcept {
  constexpr int kBias = (1 << (kExponentBits - 1U)) - 1;
  const std::uint32_t sign = (bits >> (kExponentBits + kMantissaBits)) & 1U;
  int exponent = static_cast<int>((bits >> kMantissaBits) & ((1U << kExponentBits) - 1U));
  std::uint32_t mantissa = bits & ((1U << kMantissaBits) - 1U);
  if (exponent == 0) {
    if (mantissa == 0) return sign << 31U;
    const int shift = shift_to_normal(mantissa, kMantissaBits);
    mantissa = (mantissa << shift) & ((1U << kMantissaBits) - 1U);
    exponent = 1 - shift;
  }
  const auto fp32_exponent = static_cast<std::uint32_t>(exponent - kBias + kFp32Bias);
  return sign << 31U | fp32_exponent << kFp32MantissaBits | mantissa << (kFp32MantissaBits - kMantissaBits);
}

// fp16 to fp32 as VCVTPH2PS does it: exact; a NaN becomes quiet and keeps sign and payload.
[[nodiscard]] constexpr std::uint32_t fp32_from_fp16(std::uint16_t bits) noexcept {
  const std::uint32_t wide = bits;
  if ((wide & 0x7c00U) != 0x7c00U) return expand_finite<5, 10>(wide);
  const std::uint32_t sign = (wide & 0x8000U) << 16U;
  const std::uint32_t mantissa = wide & 0x3ffU;
  if (mantissa == 0) return sign | kFp32ExponentMask;
  return sign | kFp32QuietNan | mantissa << 13U;
}

// bf16 to fp32: bf16 is the upper half of fp32; a NaN stays as it is, signalling or not.
[[nodiscard]] constexpr std::uint32_t fp32_from_bf16(std::uint16_t bits) noexcept {
  return static_cast<std::uint32_t>(bits) << 16U;
}

// fp8 e5m2 is the upper byte of fp16.
[[nodiscard]] constexpr std::uint32_t fp32_from_fp8_e5m2(std::uint8_t bits) noexcept {
  return fp32_from_fp16(static_cast<std::uint16_t>(bits << 8U));
}

// fp8 e4m3 ("fn"): no infinities; only the largest magnitude is a NaN, and torch widens it to these bits.
[[nodiscard]] constexpr std::uint32_t fp32_from_fp8_e4m3(std::uint8_t bits) noexcept {
  if ((bits & 0x7fU) == 0x7fU) return (bits & 0x80U) << 24U | 0x7ff00000U;
  return expand_finite<4, 3>(bits);
}

// fp64 to fp32 as CVTSD2SS does it: nearest, ties to even; a NaN becomes quiet, keeps sign and
// upper payload bits.
[[nodiscard]] constexpr std::uint32_t fp32_from_fp64(std::uint64_t bits) noexcept {
  constexpr std::uint64_t kSmallestNormal = 0x3810000000000000U;  // 2^-126
  constexpr std::uint64_t kBeyondLargest = 0x47f0000000000000U;   // 2^128; the largest numbers below round up to it
  constexpr std::uint64_t kRoundsToZero = 0x3690000000000000U;    // 2^-150, midway from zero to the smallest subnormal
  constexpr std::uint64_t kImplicitOne = std::uint64_t{1} << kFp64MantissaBits;
  const std::uint64_t magnitude = bits & kFp64MagnitudeMask;
  std::uint64_t result = 0;
  if (magnitude > kFp64ExponentMask) {
    result = kFp32QuietNan | ((magnitude >> kFp64ExtraMantissaBits) & 0x3fffffU);
  } else if (magnitude >= kBeyondLargest) {
    result = kFp32ExponentMask;
  } else if (magnitude >= kSmallestNormal) {
    result = shift_right_to_nearest_even(magnitude - kFp64Rebias, kFp64ExtraMantissaBits);
  } else if (magnitude > kRoundsToZero) {
    const std::uint64_t significand = (magnitude & (kImplicitOne - 1U)) | kImplicitOne;
    const auto exponent = static_cast<unsigned>(magnitude >> kFp64MantissaBits);
    result = shift_right_to_nearest_even(significand, 926U - exponent);
  }
  return static_cast<std::uint32_t>((bits & ~kFp64MagnitudeMask) >> 32U | result);
}

// fp32 to fp16 as VCVTPS2PH does it: nearest, ties to even; a NaN becomes quiet, keeps sign and
// upper payload bits.
[[nodiscard]] constexpr std::uint16_t fp16_from_fp32(std::uint32_t bits) noexcept {
  constexpr std::uint32_t kSmallestNormal = 0x38800000U;  // 2^-14
  constexpr std::uint32_t kBeyondLargest = 0x47800000U;   // 2^16; from 65520 on, numbers below round up to it
  constexpr std::uint32_t kRoundsToZero = 0x33000000U;    // 2^-25, midway from zero to the smallest subnormal
  constexpr std::uint32_t kRebias = 0x38000000U;          // (127 - 15) as an exponent
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t magnitude = bits & kFp32MagnitudeMask;
  std::uint32_t result = 0;
  if (magnitude > kFp32ExponentMask) {
    result = 0x7e00U | ((magnitude >> 13U) & 0x1ffU);
  } else if (magnitude >= kBeyondLargest) {
    result = 0x7c00U;
  } else if (magnitude >= kSmallestNormal) {
    result = shift_right_to_nearest_even(magnitude - kRebias,
                                         13);  // a carry moves into the exponent, as it should
  } else if (magnitude > kRoundsToZero) {
    const std::uint32_t significand = (magnitude & 0x7fffffU) | 0x800000U;
    result = shift_right_to_nearest_even(significand, 126U - (magnitude >> kFp32MantissaBits));
  }
  return static_cast<std::uint16_t>(sign | result);
}

// fp32 to bf16: nearest, ties to even; every NaN becomes `nan_bits`.
[[nodiscard]] constexpr std::uint16_t bf16_from_fp32(std::uint32_t bits, std::uint16_t nan_bits) noexcept {
  if (is_fp32_nan(bits)) return nan_bits;
  // The magnitude and the sign round together: the largest finite magnitude plus its rounding never
  // reaches the sign.
  const std::uint32_t rounding = 0x7fffU + ((bits >> 16U) & 1U);
  return static_cast<std::uint16_t>((bits + rounding) >> 16U);
}

// fp32 to fp64 as CVTSS2SD does it: exact; a NaN becomes quiet and keeps sign and payload.
[[nodiscard]] constexpr std::uint64_t fp64_from_fp32(std::uint32_t bits) noexcept {
  const std::uint64_t sign = static_cast<std::uint64_t>(bits & ~kFp32MagnitudeMask) << 32U;
  const std::uint32_t magnitude = bits & kFp32MagnitudeMask;
  if (magnitude == 0) return sign;
  const std::uint64_t wide = static_cast<std::uint64_t>(magnitude) << kFp64ExtraMantissaBits;
  if (magnitude >= kFp32ExponentMask) {
    return sign | wide | (magnitude == kFp32ExponentMask ? kFp64ExponentMask : kFp64QuietNan);
  }
  if (magnitude >> kFp32MantissaBits != 0) return sign | (wide + kFp64Rebias);
  // Subnormal: moved left, the leading one is a biased exponent of 1, and each bit moved takes one off.
  const auto shift = static_cast<unsigned>(shift_to_normal(magnitude, kFp32MantissaBits));
  return sign | ((wide << shift) + kFp64Rebias - (static_cast<std::uint64_t>(shift) << kFp64MantissaBits));
}

}  // namespace warpload::elements
