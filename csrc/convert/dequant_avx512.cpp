// Dequantisation with AVX-512 (F, BW, VL, DQ). Compiled with those instructions enabled, and called only on processors
// that have them; see cast_loop.hpp for why nothing here may have linkage.

#include "convert/avx512_intrinsics.hpp"
#include "convert/dequant_loop.hpp"

namespace warpload::convert_internal {
namespace {

struct Avx512Lanes {
  using Ints = __m512i;

  static float float_of(std::uint16_t bits) noexcept { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))); }

  static Ints load(const std::uint8_t* bytes) noexcept { return _mm512_cvtepu8_epi32(load_128(bytes)); }
  static Ints load_signed(const std::uint8_t* bytes) noexcept { return _mm512_cvtepi8_epi32(load_128(bytes)); }

  static Ints bits(std::uint32_t bits) noexcept { return _mm512_maskz_set1_epi32(static_cast<__mmask16>(bits), 1); }

  static Ints field(Ints ints, unsigned shift, int mask) noexcept {
    const __m128i count = _mm_cvtsi32_si128(static_cast<int>(shift));
    return _mm512_and_si512(_mm512_srl_epi32(ints, count), _mm512_set1_epi32(mask));
  }

  static Ints join(Ints low, Ints high, int shift) noexcept {
    return _mm512_or_si512(low, _mm512_sll_epi32(high, _mm_cvtsi32_si128(shift)));
  }

  static Ints minus(Ints ints, int number) noexcept { return _mm512_sub_epi32(ints, _mm512_set1_epi32(number)); }

  static Ints look_up(Ints ints) noexcept {
    const Ints table = load_signed(reinterpret_cast<const std::uint8_t*>(kNonLinear));
    return _mm512_permutexvar_epi32(ints, table);
  }

  static void store(std::byte* out, Ints ints, float scale) noexcept { _mm512_storeu_ps(out, scaled(ints, scale)); }
  static void store_sum(std::byte* out, Ints ints, float scale, float other) noexcept {
    _mm512_storeu_ps(out, _mm512_add_ps(scaled(ints, scale), _mm512_set1_ps(other)));
  }
  static void store_difference(std::byte* out, Ints ints, float scale, float other) noexcept {
    _mm512_storeu_ps(out, _mm512_sub_ps(scaled(ints, scale), _mm512_set1_ps(other)));
  }

  static CastFunction narrow(DType destination) noexcept { return narrow_by(avx512_cast_table(), destination); }

 private:
  static __m128i load_128(const std::uint8_t* bytes) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  static __m512 scaled(Ints ints, float scale) noexcept {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(ints), _mm512_set1_ps(scale));
  }
};

}  // namespace

const DequantTable& avx512_dequant_table() noexcept { return kDequantTable<Avx512Lanes>; }

}  // namespace warpload::convert_internal
