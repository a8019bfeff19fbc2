/// @file
/// Element types of the safetensors format.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "warpload/export.h"

namespace warpload {

/// The type of a tensor's elements. Values are part of the C interface and never change.
enum class DType : std::uint8_t {
  boolean,      ///< One byte, 0 or 1.
  f4,           ///< E2M1; two elements a byte.
  f6_e2m3,      ///< Four elements in three bytes.
  f6_e3m2,      ///< Four elements in three bytes.
  u8,           ///< Unsigned integer of 8 bits.
  i8,           ///< Signed integer of 8 bits.
  f8_e5m2,      ///< With infinities.
  f8_e4m3,      ///< "fn": no infinities, one NaN a sign.
  f8_e8m0,      ///< A scale: powers of two only.
  f8_e4m3fnuz,  ///< No infinities, no negative zero, one NaN.
  f8_e5m2fnuz,  ///< No infinities, no negative zero, one NaN.
  i16,          ///< Signed integer of 16 bits.
  u16,          ///< Unsigned integer of 16 bits.
  f16,          ///< IEEE half precision.
  bf16,         ///< The upper half of f32.
  i32,          ///< Signed integer of 32 bits.
  u32,          ///< Unsigned integer of 32 bits.
  f32,          ///< IEEE single precision.
  c64,          ///< Two f32: real and imaginary part.
  f64,          ///< IEEE double precision.
  i64,          ///< Signed integer of 64 bits.
  u64,          ///< Unsigned integer of 64 bits.
};

/// How many dtypes there are.
inline constexpr int kDTypeCount = static_cast<int>(DType::u64) + 1;

/// Bits that one element takes (4 and 6 for the packed types, else a multiple of 8).
[[nodiscard]] WARPLOAD_API unsigned dtype_bits(DType dtype) noexcept;

/// The format's own code: "F32", "BF16", "F8_E4M3", ... The view is of static storage.
[[nodiscard]] WARPLOAD_API std::string_view dtype_name(DType dtype) noexcept;

/// The inverse of dtype_name; nothing for a code that the format does not know.
[[nodiscard]] WARPLOAD_API std::optional<DType> parse_dtype(std::string_view name) noexcept;

/// True for every type that holds real floating-point numbers (not complex, not integers, not bool).
[[nodiscard]] WARPLOAD_API bool is_floating_point(DType dtype) noexcept;

/// Address alignment, in bytes, that one element needs in memory (1 for packed types).
[[nodiscard]] WARPLOAD_API unsigned dtype_alignment(DType dtype) noexcept;

/// True when loads can cast from `source` to `destination`: from F16, BF16, F32, F64, F8_E4M3 and F8_E5M2 to F16, BF16,
/// F32 and F64, where the two differ.
[[nodiscard]] WARPLOAD_API bool is_cast_supported(DType source, DType destination) noexcept;

}  // namespace warpload
