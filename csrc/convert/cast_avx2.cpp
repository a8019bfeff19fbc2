// Casts with AVX2 and F16C, eight elements at a time. Compiled with those instructions enabled, and called only on
// processors that have them; see cast_loop.hpp for why nothing here may have linkage.
#include <immintrin.h>

#include "convert/cast_loop.hpp"

namespace warpload::convert_internal {
namespace {

struct Avx2Lanes {
  static constexpr std::size_t kCount = 8;
  using Floats = __m256;

  template <DType kSource>
  static Floats load(const std::byte* source) noexcept {
    if constexpr (kSource == DType::f16) {
      return _mm256_cvtph_ps(load_128(source));
    } else if constexpr (kSource == DType::bf16) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(source)), 16));
    } else if constexpr (kSource == DType::f32) {
      return _mm256_loadu_ps(reinterpret_cast<const float*>(source));
    } else if constexpr (kSource == DType::f64) {
      const __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(reinterpret_cast<const double*>(source)));
      const __m128 high = _mm256_cvtpd_ps(_mm256_loadu_pd(reinterpret_cast<const double*>(source + 32)));
      return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
    } else if constexpr (kSource == DType::f8_e4m3) {
      return load_fp8_e4m3(source);
    } else {
      static_assert(kSource == DType::f8_e5m2);  // the upper byte of fp16
      return _mm256_cvtph_ps(_mm_slli_epi16(load_bytes_as_16_bit(source), 8));
    }
  }

  template <DType kDestination, std::uint16_t kNanBits>
  static void store(std::byte* destination, Floats values) noexcept {
    if constexpr (kDestination == DType::f16) {
      store_128(destination, _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    } else if constexpr (kDestination == DType::bf16) {
      store_128(destination, round_to_bf16<kNanBits>(values));
    } else if constexpr (kDestination == DType::f32) {
      _mm256_storeu_ps(reinterpret_cast<float*>(destination), values);
    } else {
      static_assert(kDestination == DType::f64);
      auto* const doubles = reinterpret_cast<double*>(destination);
      _mm256_storeu_pd(doubles, _mm256_cvtps_pd(_mm256_castps256_ps128(values)));
      _mm256_storeu_pd(doubles + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1)));
    }
  }

 private:
  static __m128i load_128(const std::byte* source) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  }

  static void store_128(std::byte* destination, __m128i bits) noexcept {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(destination), bits);
  }

  static __m128i load_bytes_as_16_bit(const std::byte* source) noexcept {
    return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source)));
  }

  // Sign-extended and shifted, the bits are an fp16 number (once the copy of the sign below the sign is
  // cleared) that is 2^8 too small, for the biases are 7 and 15; scaling by a power of two is exact in fp32.
  // Of all the magnitudes, only the NaN carries into the cleared bit when 0x80 is added; with that bit it is
  // the fp16 NaN 0x7f80, which widens to torch's 0x7ff00000 and survives the product.
  static __m256 load_fp8_e4m3(const std::byte* source) noexcept {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(source));
    const __m128i shifted = _mm_slli_epi16(_mm_cvtepi8_epi16(bytes), 7);
    const __m128i scaled_down = _mm_andnot_si128(_mm_set1_epi16(0x4000), shifted);
    const __m128i carried = _mm_add_epi16(scaled_down, _mm_set1_epi16(0x80));
    const __m128i nan_bit = _mm_and_si128(carried, _mm_set1_epi16(0x4000));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(scaled_down, nan_bit)), _mm256_set1_ps(256.0F));
  }

  template <std::uint16_t kNanBits>
  static __m128i round_to_bf16(__m256 values) noexcept {
    const __m256i bits = _mm256_castps_si256(values);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounding = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, rounding), 16);
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
    const __m256i result = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(kNanBits), is_nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
  }
};

}  // namespace

const CastTable& avx2_cast_table() noexcept { return kCastTable<Avx2Lanes>; }

}  // namespace warpload::convert_internal
