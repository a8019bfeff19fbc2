// Dequantisation with AVX2 and F16C. Compiled with those instructions enabled, and called only on processors that have
// them; see cast_loop.hpp for why nothing here may have linkage.
#include <immintrin.h>

#include "convert/dequant_loop.hpp"

namespace warpload::convert_internal {
namespace {

struct Avx2Lanes {
  struct Ints {
    __m256i low;
    __m256i high;
  };

  static float float_of(std::uint16_t bits) noexcept { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))); }

  static Ints load(const std::uint8_t* bytes) noexcept {
    const __m128i narrow = load_128(bytes);
    return {_mm256_cvtepu8_epi32(narrow), _mm256_cvtepu8_epi32(_mm_srli_si128(narrow, 8))};
  }
  static Ints load_signed(const std::uint8_t* bytes) noexcept { return widened(load_128(bytes)); }

  static Ints bits(std::uint32_t bits) noexcept {
    const __m256i all = _mm256_set1_epi32(static_cast<int>(bits));
    const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i one = _mm256_set1_epi32(1);
    return {_mm256_and_si256(_mm256_srlv_epi32(all, order), one),
            _mm256_and_si256(_mm256_srlv_epi32(_mm256_srli_epi32(all, 8), order), one)};
  }

  static Ints field(Ints ints, unsigned shift, int mask) noexcept {
    const __m128i count = _mm_cvtsi32_si128(static_cast<int>(shift));
    const __m256i all = _mm256_set1_epi32(mask);
    return {_mm256_and_si256(_mm256_srl_epi32(ints.low, count), all),
            _mm256_and_si256(_mm256_srl_epi32(ints.high, count), all)};
  }

  static Ints join(Ints low, Ints high, int shift) noexcept {
    const __m128i count = _mm_cvtsi32_si128(shift);
    return {_mm256_or_si256(low.low, _mm256_sll_epi32(high.low, count)),
            _mm256_or_si256(low.high, _mm256_sll_epi32(high.high, count))};
  }

  static Ints minus(Ints ints, int number) noexcept {
    const __m256i all = _mm256_set1_epi32(number);
    return {_mm256_sub_epi32(ints.low, all), _mm256_sub_epi32(ints.high, all)};
  }

  // Each number is below 16, so the bytes that are looked up beside its own give value 0 of the table and go.
  static Ints look_up(Ints ints) noexcept {
    const __m256i table = _mm256_broadcastsi128_si256(load_128(reinterpret_cast<const std::uint8_t*>(kNonLinear)));
    const auto looked_up = [&](__m256i numbers) {
      return _mm256_srai_epi32(_mm256_slli_epi32(_mm256_shuffle_epi8(table, numbers), 24), 24);
    };
    return {looked_up(ints.low), looked_up(ints.high)};
  }

  static void store(std::byte* out, Ints ints, float scale) noexcept {
    const __m256 scales = _mm256_set1_ps(scale);
    write(out, _mm256_mul_ps(_mm256_cvtepi32_ps(ints.low), scales),
          _mm256_mul_ps(_mm256_cvtepi32_ps(ints.high), scales));
  }
  static void store_sum(std::byte* out, Ints ints, float scale, float other) noexcept {
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256 others = _mm256_set1_ps(other);
    write(out, _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(ints.low), scales), others),
          _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(ints.high), scales), others));
  }
  static void store_difference(std::byte* out, Ints ints, float scale, float other) noexcept {
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256 others = _mm256_set1_ps(other);
    write(out, _mm256_sub_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(ints.low), scales), others),
          _mm256_sub_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(ints.high), scales), others));
  }

  static CastFunction narrow(DType destination) noexcept { return narrow_by(avx2_cast_table(), destination); }

 private:
  static __m128i load_128(const std::uint8_t* bytes) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  static Ints widened(__m128i narrow) noexcept {
    return {_mm256_cvtepi8_epi32(narrow), _mm256_cvtepi8_epi32(_mm_srli_si128(narrow, 8))};
  }

  static void write(std::byte* out, __m256 low, __m256 high) noexcept {
    _mm256_storeu_ps(reinterpret_cast<float*>(out), low);
    _mm256_storeu_ps(reinterpret_cast<float*>(out) + 8, high);
  }
};

}  // namespace

const DequantTable& avx2_dequant_table() noexcept { return kDequantTable<Avx2Lanes>; }

}  // namespace warpload::convert_internal
