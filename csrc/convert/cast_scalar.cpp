// Casts in plain C++, one element at a time: for processors without the vector instructions, and for the
// tests to hold the vector code against.
#include "convert/cast_element.hpp"
#include "convert/cast_loop.hpp"

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
    return elements::to_fp32<kSource>(read_bits<elements::Bits<kSource>>(source));
  }

  template <DType kDestination, std::uint16_t kNanBits>
  static void store(std::byte* destination, Floats bits) noexcept {
    write_bits(destination, elements::from_fp32<kDestination, kNanBits>(bits));
  }
};

}  // namespace

const CastTable& scalar_cast_table() noexcept { return kCastTable<ScalarLanes>; }

}  // namespace warpload::convert_internal
