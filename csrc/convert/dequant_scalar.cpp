// Dequantisation in plain C++: for processors without the vector instructions, and for the tests to hold the vector
// code against.
#include <cstring>

#include "convert/dequant_loop.hpp"
#include "convert/elements.hpp"

namespace warpload::convert_internal {
namespace {

struct ScalarLanes {
  struct Ints {
    std::int32_t lanes[16];
  };

  static float float_of(std::uint16_t bits) noexcept {
    const std::uint32_t wide = elements::fp32_from_fp16(bits);
    float number = 0;
    std::memcpy(&number, &wide, sizeof(number));
    return number;
  }

  static Ints load(const std::uint8_t* bytes) noexcept {
    return made([&](int lane) { return static_cast<std::int32_t>(bytes[lane]); });
  }
  static Ints load_signed(const std::uint8_t* bytes) noexcept {
    return made([&](int lane) { return static_cast<std::int32_t>(static_cast<std::int8_t>(bytes[lane])); });
  }
  static Ints bits(std::uint32_t bits) noexcept {
    return made([&](int lane) { return static_cast<std::int32_t>(bits >> lane & 1); });
  }
  static Ints field(const Ints& ints, unsigned shift, int mask) noexcept {
    return made([&](int lane) { return ints.lanes[lane] >> shift & mask; });
  }
  static Ints join(const Ints& low, const Ints& high, int shift) noexcept {
    return made([&](int lane) { return low.lanes[lane] | high.lanes[lane] << shift; });
  }
  static Ints minus(const Ints& ints, int number) noexcept {
    return made([&](int lane) { return ints.lanes[lane] - number; });
  }
  static Ints look_up(const Ints& ints) noexcept {
    return made([&](int lane) { return std::int32_t{kNonLinear[ints.lanes[lane]]}; });
  }

  static void store(std::byte* out, const Ints& ints, float scale) noexcept {
    write(out, [&](int lane) { return static_cast<float>(ints.lanes[lane]) * scale; });
  }
  static void store_sum(std::byte* out, const Ints& ints, float scale, float other) noexcept {
    write(out, [&](int lane) { return static_cast<float>(ints.lanes[lane]) * scale + other; });
  }
  static void store_difference(std::byte* out, const Ints& ints, float scale, float other) noexcept {
    write(out, [&](int lane) { return static_cast<float>(ints.lanes[lane]) * scale - other; });
  }

  static CastFunction narrow(DType destination) noexcept { return narrow_by(scalar_cast_table(), destination); }

 private:
  template <class Function>
  static Ints made(Function function) noexcept {
    Ints result;
    for (int lane = 0; lane < 16; ++lane) result.lanes[lane] = function(lane);
    return result;
  }

  template <class Function>
  static void write(std::byte* out, Function function) noexcept {
    float results[16];
    for (int lane = 0; lane < 16; ++lane) results[lane] = function(lane);
    std::memcpy(out, results, sizeof(results));
  }
};

}  // namespace

const DequantTable& scalar_dequant_table() noexcept { return kDequantTable<ScalarLanes>; }

#if defined(__aarch64__)

namespace {

struct NeonLanes : ScalarLanes {
  static CastFunction narrow(DType destination) noexcept { return narrow_by(neon_cast_table(), destination); }
};

}  // namespace

// Compilers use these instructions in plain C++.
const DequantTable& neon_dequant_table() noexcept { return kDequantTable<NeonLanes>; }

#endif

}  // namespace warpload::convert_internal
