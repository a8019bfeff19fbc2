// Casts with the vector instructions of every 64-bit Arm processor, eight elements at a time.
//
// They rely on the floating-point control register as a thread starts with it: IEEE fp16 (AHP clear), NaN
// payloads kept (DN clear), no flushing of subnormal numbers (FZ clear), rounding to nearest even.
#include "convert/cast_tables.hpp"

#if defined(__aarch64__)

#include <arm_neon.h>

#include "convert/cast_loop.hpp"

namespace warpload::convert_internal {
namespace {

struct NeonLanes {
  static constexpr std::size_t kCount = 8;
  struct Floats {
    float32x4_t low;
    float32x4_t high;
  };

  template <DType kSource>
  static Floats load(const std::byte* source) noexcept {
    if constexpr (kSource == DType::f16) {
      return widen_fp16(load_16_bit(source));
    } else if constexpr (kSource == DType::bf16) {
      const uint16x8_t bits = load_16_bit(source);
      return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
              vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(bits), 16))};
    } else if constexpr (kSource == DType::f32) {
      return {load_floats(source), load_floats(source + 16)};
    } else if constexpr (kSource == DType::f64) {
      return {round_doubles(source), round_doubles(source + 32)};
    } else if constexpr (kSource == DType::f8_e4m3) {
      return load_fp8_e4m3(source);
    } else {
      static_assert(kSource == DType::f8_e5m2);
      return widen_fp16(load_fp8_e5m2_as_fp16(source));
    }
  }

  template <DType kDestination, std::uint16_t kNanBits>
  static void store(std::byte* destination, Floats values) noexcept {
    if constexpr (kDestination == DType::f16) {
      const uint16x4_t low = vreinterpret_u16_f16(vcvt_f16_f32(values.low));
      const uint16x4_t high = vreinterpret_u16_f16(vcvt_f16_f32(values.high));
      store_16_bit(destination, vcombine_u16(low, high));
    } else if constexpr (kDestination == DType::bf16) {
      const uint16x4_t low = round_to_bf16<kNanBits>(values.low);
      store_16_bit(destination, vcombine_u16(low, round_to_bf16<kNanBits>(values.high)));
    } else if constexpr (kDestination == DType::f32) {
      store_floats(destination, values.low);
      store_floats(destination + 16, values.high);
    } else {
      static_assert(kDestination == DType::f64);
      store_doubles(destination, vcvt_f64_f32(vget_low_f32(values.low)));
      store_doubles(destination + 16, vcvt_high_f64_f32(values.low));
      store_doubles(destination + 32, vcvt_f64_f32(vget_low_f32(values.high)));
      store_doubles(destination + 48, vcvt_high_f64_f32(values.high));
    }
  }

 private:
  // Loads and stores of bytes: they alone promise nothing about the alignment of the address.
  static uint8x8_t load_bytes(const std::byte* source) noexcept {
    return vld1_u8(reinterpret_cast<const std::uint8_t*>(source));
  }

  static uint8x16_t load_128(const std::byte* source) noexcept {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(source));
  }

  static void store_128(std::byte* destination, uint8x16_t bits) noexcept {
    vst1q_u8(reinterpret_cast<std::uint8_t*>(destination), bits);
  }

  static uint16x8_t load_16_bit(const std::byte* source) noexcept { return vreinterpretq_u16_u8(load_128(source)); }

  static float32x4_t load_floats(const std::byte* source) noexcept { return vreinterpretq_f32_u8(load_128(source)); }

  static void store_16_bit(std::byte* destination, uint16x8_t bits) noexcept {
    store_128(destination, vreinterpretq_u8_u16(bits));
  }

  static void store_floats(std::byte* destination, float32x4_t values) noexcept {
    store_128(destination, vreinterpretq_u8_f32(values));
  }

  static void store_doubles(std::byte* destination, float64x2_t values) noexcept {
    store_128(destination, vreinterpretq_u8_f64(values));
  }

  static float32x4_t round_doubles(const std::byte* source) noexcept {
    const float32x2_t low = vcvt_f32_f64(vreinterpretq_f64_u8(load_128(source)));
    return vcvt_high_f32_f64(low, vreinterpretq_f64_u8(load_128(source + 16)));
  }

  static Floats widen_fp16(uint16x8_t bits) noexcept {
    return {vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(bits))),
            vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(bits)))};
  }

  // The upper byte of fp16. A NaN is made quiet here because a compiler may leave out a conversion to fp32 and
  // back, and with it the quieting.
  static uint16x8_t load_fp8_e5m2_as_fp16(const std::byte* source) noexcept {
    const uint16x8_t bits = vshll_n_u8(load_bytes(source), 8);
    const uint16x8_t is_nan = vcgtq_u16(vandq_u16(bits, vdupq_n_u16(0x7fff)), vdupq_n_u16(0x7c00));
    return vorrq_u16(bits, vandq_u16(is_nan, vdupq_n_u16(0x0200)));
  }

  // Sign-extended and shifted, the bits are an fp16 number (once the copy of the sign below the sign is
  // cleared) that is 2^8 too small, for the biases are 7 and 15; scaling by a power of two is exact in fp32.
  // Of all the magnitudes, only the NaN carries into the cleared bit when 0x80 is added; with that bit it is
  // the fp16 NaN 0x7f80, which widens to torch's 0x7ff00000 and survives the product.
  static Floats load_fp8_e4m3(const std::byte* source) noexcept {
    const int8x8_t bytes = vreinterpret_s8_u8(load_bytes(source));
    const uint16x8_t shifted = vreinterpretq_u16_s16(vshll_n_s8(bytes, 7));
    const uint16x8_t scaled_down = vbicq_u16(shifted, vdupq_n_u16(0x4000));
    const uint16x8_t carried = vaddq_u16(scaled_down, vdupq_n_u16(0x80));
    const uint16x8_t nan_bit = vandq_u16(carried, vdupq_n_u16(0x4000));
    const Floats floats = widen_fp16(vorrq_u16(scaled_down, nan_bit));
    return {vmulq_n_f32(floats.low, 256.0F), vmulq_n_f32(floats.high, 256.0F)};
  }

  template <std::uint16_t kNanBits>
  static uint16x4_t round_to_bf16(float32x4_t values) noexcept {
    const uint32x4_t bits = vreinterpretq_u32_f32(values);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounding = vaddq_u32(odd, vdupq_n_u32(0x7fff));
    const uint16x4_t rounded = vshrn_n_u32(vaddq_u32(bits, rounding), 16);
    const uint16x4_t is_number = vmovn_u32(vceqq_f32(values, values));
    return vbsl_u16(is_number, rounded, vdup_n_u16(kNanBits));
  }
};

}  // namespace

const CastTable& neon_cast_table() noexcept { return kCastTable<NeonLanes>; }

}  // namespace warpload::convert_internal

#endif  // defined(__aarch64__)
