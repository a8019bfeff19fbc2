// Casts with AVX-512 (F, BW, VL, DQ), sixteen elements at a time. Compiled with those instructions enabled, and called
// only on processors that have them; see cast_loop.hpp for why nothing here may have linkage.

#include "convert/avx512_intrinsics.hpp"
#include "convert/cast_loop.hpp"

namespace warpload::convert_internal {
namespace {

struct Avx512Lanes {
  static constexpr std::size_t kCount = 16;
  using Floats = __m512;

  template <DType kSource>
  static Floats load(const std::byte* source) noexcept {
    if constexpr (kSource == DType::f16) {
      return _mm512_cvtph_ps(load_256(source));
    } else if constexpr (kSource == DType::bf16) {
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_256(source)), 16));
    } else if constexpr (kSource == DType::f32) {
      return _mm512_loadu_ps(source);
    } else if constexpr (kSource == DType::f64) {
      const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(source));
      const __m256 high = _mm512_cvtpd_ps(_mm512_loadu_pd(source + 64));
      return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    } else if constexpr (kSource == DType::f8_e4m3) {
      return load_fp8_e4m3(source);
    } else {
      static_assert(kSource == DType::f8_e5m2);  // the upper byte of fp16
      return _mm512_cvtph_ps(_mm256_slli_epi16(load_bytes_as_16_bit(source), 8));
    }
  }

  template <DType kDestination, std::uint16_t kNanBits>
  static void store(std::byte* destination, Floats values) noexcept {
    if constexpr (kDestination == DType::f16) {
      store_256(destination, _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    } else if constexpr (kDestination == DType::bf16) {
      store_256(destination, round_to_bf16<kNanBits>(values));
    } else if constexpr (kDestination == DType::f32) {
      _mm512_storeu_ps(destination, values);
    } else {
      static_assert(kDestination == DType::f64);
      _mm512_storeu_pd(destination, _mm512_cvtps_pd(_mm512_castps512_ps256(values)));
      _mm512_storeu_pd(destination + 64, _mm512_cvtps_pd(_mm512_extractf32x8_ps(values, 1)));
    }
  }

 private:
  static __m256i load_256(const std::byte* source) noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
  }

  static void store_256(std::byte* destination, __m256i bits) noexcept {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(destination), bits);
  }

  static __m256i load_bytes_as_16_bit(const std::byte* source) noexcept {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
  }

  // Sign-extended and shifted, the bits are an fp16 number (once the copy of the sign below the sign is
  // cleared) that is 2^8 too small, for the biases are 7 and 15; scaling by a power of two is exact in fp32.
  // Of all the magnitudes, only the NaN carries into the cleared bit when 0x80 is added; with that bit it is
  // the fp16 NaN 0x7f80, which widens to torch's 0x7ff00000 and survives the product.
  static __m512 load_fp8_e4m3(const std::byte* source) noexcept {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    const __m256i shifted = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
    const __m256i scaled_down = _mm256_andnot_si256(_mm256_set1_epi16(0x4000), shifted);
    const __m256i carried = _mm256_add_epi16(scaled_down, _mm256_set1_epi16(0x80));
    const __m256i nan_bit = _mm256_and_si256(carried, _mm256_set1_epi16(0x4000));
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(scaled_down, nan_bit)), _mm512_set1_ps(256.0F));
  }

  // By integer arithmetic: VCVTNEPS2BF16 would flush subnormal numbers to zero.
  template <std::uint16_t kNanBits>
  static __m256i round_to_bf16(__m512 values) noexcept {
    const __m512i bits = _mm512_castps_si512(values);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounding = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, rounding), 16);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(kNanBits)));
  }
};

}  // namespace

const CastTable& avx512_cast_table() noexcept { return kCastTable<Avx512Lanes>; }

}  // namespace warpload::convert_internal
