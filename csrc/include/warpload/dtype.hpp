/// @file
/// Element types of the safetensors format; those of GGUF that are no blocks (block_type.hpp) are among them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "warpload/export.h"

namespace warpload {

/// The type of a tensor's elements. Values are part of the C interface and never change.
enum class DType : std::uint8_t {
  boolean,      ///< One byte, 0 or 1.
  f4,           ///< Float of 4 bits (E2M1); two elements in one byte.
  f6_e2m3,      ///< Float of 6 bits; four elements in three bytes.
  f6_e3m2,      ///< Float of 6 bits; four elements in three bytes.
  u8,           ///< Unsigned integer of 8 bits.
  i8,           ///< Signed integer of 8 bits.
  f8_e5m2,      ///< Float of 8 bits with infinities.
  f8_e4m3,      ///< Float of 8 bits ("fn") without infinities, with one NaN of each sign.
  f8_e8m0,      ///< Scale of 8 bits: powers of two only.
  f8_e4m3fnuz,  ///< Float of 8 bits without infinities and negative zero, with one NaN.
  f8_e5m2fnuz,  ///< Float of 8 bits without infinities and negative zero, with one NaN.
  i16,          ///< Signed integer of 16 bits.
  u16,          ///< Unsigned integer of 16 bits.
  f16,          ///< Float of 16 bits, IEEE half precision.
  bf16,         ///< Float of 16 bits: the upper half of f32.
  i32,          ///< Signed integer of 32 bits.
  u32,          ///< Unsigned integer of 32 bits.
  f32,          ///< Float of 32 bits, IEEE single precision.
  c64,          ///< Complex number of two f32: real and imaginary part.
  f64,          ///< Float of 64 bits, IEEE double precision.
  i64,          ///< Signed integer of 64 bits.
  u64,          ///< Unsigned integer of 64 bits.
};

/// How many dtypes there are.
inline constexpr int kDTypeCount = static_cast<int>(DType::u64) + 1;

/// The bits that one element takes: 4 or 6 for the packed types, else a multiple of 8.
[[nodiscard]] WARPLOAD_API unsigned dtype_bits(DType dtype) noexcept;

/// The format's own code of a dtype: "F32", "BF16", "F8_E4M3" and so on. The view is of static storage.
[[nodiscard]] WARPLOAD_API std::string_view dtype_name(DType dtype) noexcept;

/// The dtype that a code of the format stands for; nothing for a code that the format does not know.
[[nodiscard]] WARPLOAD_API std::optional<DType> parse_dtype(std::string_view name) noexcept;

/// True for every type that holds real floating-point numbers (not complex, not integers, not bool).
[[nodiscard]] WARPLOAD_API bool is_floating_point(DType dtype) noexcept;

/// The alignment in bytes that an element needs in memory: 1 for the packed types.
[[nodiscard]] WARPLOAD_API unsigned dtype_alignment(DType dtype) noexcept;

/// True when loads can cast from `source` to `destination`. They cast from F16, BF16, F32, F64, F8_E4M3 and F8_E5M2 to
/// F16, BF16, F32 and F64, where the two differ.
[[nodiscard]] WARPLOAD_API bool is_cast_supported(DType source, DType destination) noexcept;

}  // namespace warpload
