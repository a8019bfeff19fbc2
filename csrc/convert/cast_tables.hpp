// The tables of casts, one an instruction set, that cast.cpp chooses from.
#pragma once

#include <cstddef>

#include "convert/cast.hpp"
#include "warpload/dtype.hpp"

namespace warpload::convert_internal {

inline constexpr DType kCastSources[] = {DType::f16, DType::bf16,    DType::f32,
                                         DType::f64, DType::f8_e4m3, DType::f8_e5m2};
inline constexpr DType kCastDestinations[] = {DType::f16, DType::bf16, DType::f32, DType::f64};
inline constexpr std::size_t kCastSourceCount = sizeof(kCastSources) / sizeof(kCastSources[0]);
inline constexpr std::size_t kCastDestinationCount = sizeof(kCastDestinations) / sizeof(kCastDestinations[0]);

template <DType kType>
inline constexpr std::size_t kElementBytes = 2;
template <>
inline constexpr std::size_t kElementBytes<DType::f32> = 4;
template <>
inline constexpr std::size_t kElementBytes<DType::f64> = 8;
template <>
inline constexpr std::size_t kElementBytes<DType::f8_e4m3> = 1;
template <>
inline constexpr std::size_t kElementBytes<DType::f8_e5m2> = 1;

// rows[s].functions[d] casts kCastSources[s] to kCastDestinations[d]; nullptr where the two are the
// same type. Plain arrays: an inline member of std::array, compiled for AVX-512, could end up serving
// the whole program.
struct CastRow {
  CastFunction functions[kCastDestinationCount];
};
struct CastTable {
  CastRow rows[kCastSourceCount];
};

[[nodiscard]] const CastTable& scalar_cast_table() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const CastTable& avx2_cast_table() noexcept;
[[nodiscard]] const CastTable& avx512_cast_table() noexcept;
#elif defined(__aarch64__)
[[nodiscard]] const CastTable& neon_cast_table() noexcept;
#endif

}  // namespace warpload::convert_internal
