// An account of the floating-point formats that shares no code with the casts: values come from ldexp on the
// fields, and the nearest of a format is judged by its neighbours in double arithmetic. And the bit patterns
// worth casting.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "warpload/dtype.hpp"

namespace warpload::cast_reference {

inline constexpr DType kSources[] = {DType::f16, DType::bf16, DType::f32, DType::f64, DType::f8_e4m3, DType::f8_e5m2};
inline constexpr DType kDestinations[] = {DType::f16, DType::bf16, DType::f32, DType::f64};
// How a type lays out its bits; e4m3 has no infinity, so that its top exponent holds numbers.
struct Layout {
  unsigned exponent_bits;
  unsigned mantissa_bits;
  bool has_infinity;
};

inline Layout layout_of(DType type) {
  switch (type) {
    case DType::f16:
      return {5, 10, true};
    case DType::bf16:
      return {8, 7, true};
    case DType::f32:
      return {8, 23, true};
    case DType::f64:
      return {11, 52, true};
    case DType::f8_e4m3:
      return {4, 3, false};
    default:
      return {5, 2, true};
  }
}

inline unsigned bits_of(DType type) { return 1 + layout_of(type).exponent_bits + layout_of(type).mantissa_bits; }
inline std::size_t bytes_of(DType type) { return bits_of(type) / 8; }
inline bool is_wide(DType type) { return bits_of(type) >= 32; }

inline std::uint64_t magnitude_of(DType type, std::uint64_t bits) {
  return bits & ((std::uint64_t{1} << (bits_of(type) - 1)) - 1);
}
inline bool is_negative(DType type, std::uint64_t bits) { return magnitude_of(type, bits) != bits; }

inline std::uint64_t infinity_of(DType type) {
  const Layout layout = layout_of(type);
  return ((std::uint64_t{1} << layout.exponent_bits) - 1) << layout.mantissa_bits;
}

inline bool is_nan(DType type, std::uint64_t bits) {
  const std::uint64_t magnitude = magnitude_of(type, bits);
  return layout_of(type).has_infinity ? magnitude > infinity_of(type) : magnitude == 0x7f;
}

// The value of a pattern that is not NaN, from its fields. `finite_top` reads the top exponent as one more
// binade, which gives infinity the value that rounding to it is decided by.
inline double value_of(DType type, std::uint64_t bits, bool finite_top = false) {
  const Layout layout = layout_of(type);
  const std::uint64_t magnitude = magnitude_of(type, bits);
  const int bias = (1 << (layout.exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(magnitude >> layout.mantissa_bits);
  const std::uint64_t mantissa = magnitude & ((std::uint64_t{1} << layout.mantissa_bits) - 1);
  const std::uint64_t implicit_one = exponent == 0 ? 0 : std::uint64_t{1} << layout.mantissa_bits;
  double value = std::ldexp(static_cast<double>(mantissa + implicit_one),
                            (exponent == 0 ? 1 : exponent) - bias - static_cast<int>(layout.mantissa_bits));
  if (layout.has_infinity && magnitude >= infinity_of(type) && !finite_top) {
    value = std::numeric_limits<double>::infinity();
  }
  return is_negative(type, bits) ? -value : value;
}

// True when `bits` of `type` is `value` rounded to nearest, ties to even, judged by its two neighbours.
inline bool is_nearest(DType type, std::uint64_t bits, double value) {
  if (is_nan(type, bits) || std::signbit(value) != is_negative(type, bits)) return false;
  const std::uint64_t magnitude = magnitude_of(type, bits);
  if (std::isinf(value)) return magnitude == infinity_of(type);
  const double target = std::fabs(value);
  const double distance = std::fabs(value_of(type, magnitude, true) - target);
  const bool is_infinity = magnitude == infinity_of(type);
  if (is_infinity && value_of(type, magnitude, true) <= target) return true;
  const bool odd = (magnitude & 1) != 0;
  for (const std::uint64_t neighbour : {magnitude - 1, magnitude + 1}) {
    if ((magnitude == 0 && neighbour != 1) || (is_infinity && neighbour > magnitude)) continue;
    const double other = std::fabs(value_of(type, neighbour, true) - target);
    if (other < distance || (other == distance && odd)) return false;
  }
  return true;
}

inline std::uint64_t read_element(DType type, const std::byte* bytes) {
  std::uint64_t bits = 0;  // the machines that this runs on are little-endian
  std::memcpy(&bits, bytes, bytes_of(type));
  return bits;
}

inline std::vector<std::byte> pack(DType type, const std::vector<std::uint64_t>& patterns) {
  std::vector<std::byte> bytes(patterns.size() * bytes_of(type));
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    std::memcpy(bytes.data() + i * bytes_of(type), &patterns[i], bytes_of(type));
  }
  return bytes;
}

// Every pattern of a type of 8 or 16 bits.
inline std::vector<std::uint64_t> every_pattern(DType type) {
  std::vector<std::uint64_t> patterns(std::size_t{1} << bits_of(type));
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = i;
  return patterns;
}

// Every exponent and upper mantissa of fp32, with lower halves on, next to and between the ties of bf16 and
// of fp16 (normal and not), in turns positive and negative.
inline std::vector<std::uint64_t> structured_fp32() {
  constexpr std::uint64_t kLowerHalves[] = {0,      1,      0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001,
                                            0x7fff, 0x8000, 0x8001, 0xefff, 0xf000, 0xf001, 0xffff};
  std::vector<std::uint64_t> patterns;
  for (std::uint64_t upper = 0; upper < 0x8000; ++upper) {
    for (const std::uint64_t lower : kLowerHalves) {
      const std::uint64_t sign = patterns.size() % 2;
      patterns.push_back(sign << 31 | upper << 16 | lower);
    }
  }
  return patterns;
}

inline std::vector<std::uint64_t> random_patterns(DType type, std::size_t count) {
  std::mt19937_64 generator(20240607);  // the same numbers in every run
  std::vector<std::uint64_t> patterns(count);
  for (auto& pattern : patterns) pattern = generator() >> (64 - bits_of(type));
  return patterns;
}

// Doubles at, right under and right over the middle between two neighbouring fp32 numbers and at the fp32
// numbers themselves, over the whole range; infinities and NaN among them.
inline std::vector<std::uint64_t> structured_fp64() {
  std::vector<std::uint64_t> patterns;
  std::mt19937 generator(31);
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    const std::uint32_t single = upper << 16 | (generator() & 0xffffU);
    const auto wide = std::bit_cast<std::uint64_t>(static_cast<double>(std::bit_cast<float>(single)));
    constexpr std::uint64_t kHalf = std::uint64_t{1} << 28;
    for (const std::uint64_t extra : {std::uint64_t{0}, kHalf - 1, kHalf, kHalf + 1}) {
      patterns.push_back(wide + extra);
    }
  }
  return patterns;
}

inline std::vector<std::uint64_t> patterns_to_try(DType type) {
  if (!is_wide(type)) return every_pattern(type);
  std::vector<std::uint64_t> patterns = type == DType::f32 ? structured_fp32() : structured_fp64();
  const std::vector<std::uint64_t> random = random_patterns(type, 200000);
  patterns.insert(patterns.end(), random.begin(), random.end());
  return patterns;
}

}  // namespace warpload::cast_reference
