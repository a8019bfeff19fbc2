// The loop and the table that every instruction set shares.
//
// Everything is a template over a Lanes class that the including file defines in an anonymous namespace.
// That gives each instantiation internal linkage, so that code compiled for AVX-512 can't replace a
// function of another file. For the same reason nothing here is a plain inline function and nothing from
// std:: is instantiated.
//
// A Lanes class has
//   kCount                                    how many elements it handles at a time
//   Floats                                    that many fp32 numbers
//   load<source>(const std::byte*)            reads kCount elements and widens (fp64: rounds) them to fp32
//   store<destination, nan_bits>(std::byte*, Floats)   rounds and writes them; a NaN in bf16 becomes nan_bits
// and neither function needs an aligned address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "convert/bf16_nan.hpp"
#include "convert/cast.hpp"
#include "convert/cast_tables.hpp"
#include "warpload/dtype.hpp"

namespace warpload::convert_internal {

template <class Lanes, DType kSource, DType kDestination>
void cast_elements(const std::byte* source, std::byte* destination, std::size_t count) noexcept {
  constexpr std::size_t kSourceStep = Lanes::kCount * kElementBytes<kSource>;
  constexpr std::size_t kDestinationStep = Lanes::kCount * kElementBytes<kDestination>;
  constexpr std::uint16_t kNanBits = kBf16NanBits<kSource>;

  for (; count >= 2 * Lanes::kCount; count -= 2 * Lanes::kCount) {
    const auto first = Lanes::template load<kSource>(source);
    const auto second = Lanes::template load<kSource>(source + kSourceStep);
    Lanes::template store<kDestination, kNanBits>(destination, first);
    Lanes::template store<kDestination, kNanBits>(destination + kDestinationStep, second);
    source += 2 * kSourceStep;
    destination += 2 * kDestinationStep;
  }
  if (count >= Lanes::kCount) {
    Lanes::template store<kDestination, kNanBits>(destination, Lanes::template load<kSource>(source));
    source += kSourceStep;
    destination += kDestinationStep;
    count -= Lanes::kCount;
  }
  if (count != 0) {
    // The rest goes through the same instructions by way of the stack, so that its bits can't differ.
    std::byte padded_source[kSourceStep] = {};
    std::byte padded_destination[kDestinationStep];
    std::memcpy(padded_source, source, count * kElementBytes<kSource>);
    Lanes::template store<kDestination, kNanBits>(padded_destination, Lanes::template load<kSource>(padded_source));
    std::memcpy(destination, padded_destination, count * kElementBytes<kDestination>);
  }
}

template <class Lanes, DType kSource, DType kDestination>
inline constexpr CastFunction kCastOrNull = &cast_elements<Lanes, kSource, kDestination>;
template <class Lanes, DType kType>
inline constexpr CastFunction kCastOrNull<Lanes, kType, kType> = nullptr;

template <class Lanes, DType kSource>
inline constexpr CastRow kCastRow = {{
    kCastOrNull<Lanes, kSource, kCastDestinations[0]>,
    kCastOrNull<Lanes, kSource, kCastDestinations[1]>,
    kCastOrNull<Lanes, kSource, kCastDestinations[2]>,
    kCastOrNull<Lanes, kSource, kCastDestinations[3]>,
}};

template <class Lanes>
inline constexpr CastTable kCastTable = {{
    kCastRow<Lanes, kCastSources[0]>,
    kCastRow<Lanes, kCastSources[1]>,
    kCastRow<Lanes, kCastSources[2]>,
    kCastRow<Lanes, kCastSources[3]>,
    kCastRow<Lanes, kCastSources[4]>,
    kCastRow<Lanes, kCastSources[5]>,
}};
static_assert(kCastSourceCount == 6 && kCastDestinationCount == 4);

}  // namespace warpload::convert_internal
