// Casts in plain C++, one element at a time: for processors without the vector instructions, and for the
// tests to hold the vector code against.
#include "convert/cast_loop.hpp"
#include "convert/elements.hpp"

namespace warpload::convert_internal {
namespace {

template <class Bits>
Bits read_bits(const std::byte* source) noexcept {
  Bits bits;
  std::memcpy(&bits, source, sizeof(bits));
  return bits;
}

template <class Bits>
void write_bits(std::byte* destination, Bits bits) noexcept {
  std::memcpy(destination, &bits, sizeof(bits));
}

struct ScalarLanes {
  static constexpr std::size_t kCount = 1;
  using Floats = std::uint32_t;  // the bits of one fp32 number

  template <DType kSource>
  static Floats load(const std::byte* source) noexcept {
    if constexpr (kSource == DType::f16) {
      return elements::fp32_from_fp16(read_bits<std::uint16_t>(source));
    } else if constexpr (kSource == DType::bf16) {
      return elements::fp32_from_bf16(read_bits<std::uint16_t>(source));
    } else if constexpr (kSource == DType::f32) {
      return read_bits<std::uint32_t>(source);
    } else if constexpr (kSource == DType::f64) {
      return elements::fp32_from_fp64(read_bits<std::uint64_t>(source));
    } else if constexpr (kSource == DType::f8_e4m3) {
      return elements::fp32_from_fp8_e4m3(read_bits<std::uint8_t>(source));
    } else {
      static_assert(kSource == DType::f8_e5m2);
      return elements::fp32_from_fp8_e5m2(read_bits<std::uint8_t>(source));
    }
  }

  template <DType kDestination, std::uint16_t kNanBits>
  static void store(std::byte* destination, Floats bits) noexcept {
    if constexpr (kDestination == DType::f16) {
      write_bits(destination, elements::fp16_from_fp32(bits));
    } else if constexpr (kDestination == DType::bf16) {
      write_bits(destination, elements::bf16_from_fp32(bits, kNanBits));
    } else if constexpr (kDestination == DType::f32) {
      write_bits(destination, bits);
    } else {
      static_assert(kDestination == DType::f64);
      write_bits(destination, elements::fp64_from_fp32(bits));
    }
  }
};

}  // namespace

const CastTable& scalar_cast_table() noexcept { return kCastTable<ScalarLanes>; }

}  // namespace warpload::convert_internal
