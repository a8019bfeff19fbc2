// Element types of the safetensors format.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace warpload {

enum class DType : std::uint8_t {
  boolean,
  f4,       // two elements a byte
  f6_e2m3,  // four elements in three bytes
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,  // "fn": no infinities, one NaN a sign
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

inline constexpr int kDTypeCount = static_cast<int>(DType::u64) + 1;

// Bits one element takes (4 and 6 for the packed types, else a multiple of 8).
[[nodiscard]] unsigned dtype_bits(DType dtype) noexcept;

// The format's own code: "F32", "BF16", "F8_E4M3", ... The view is of static storage.
[[nodiscard]] std::string_view dtype_name(DType dtype) noexcept;

// The inverse of dtype_name; nothing for a code that the format does not know.
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view name) noexcept;

// True for every type that holds real floating-point numbers (not complex, not integers, not bool).
[[nodiscard]] bool is_floating_point(DType dtype) noexcept;

// Address alignment, in bytes, that one element needs in memory (1 for packed types).
[[nodiscard]] unsigned dtype_alignment(DType dtype) noexcept;

}  // namespace warpload
