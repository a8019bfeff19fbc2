// The loop and the table that every instruction set shares; dequant_blocks.hpp says what the class Lanes has, and why
// all this is templates over it.
#pragma once

#include <cstddef>

#include "convert/dequant_blocks.hpp"
#include "convert/dequant_tables.hpp"
#include "format/block_table.hpp"

namespace warpload::convert_internal {

template <class Lanes, BlockType kType>
void read_block(const std::uint8_t* block, std::byte* out) noexcept {
  if constexpr (kType == BlockType::q4_0) {
    read_block_of_32<Lanes, false, false>(block, out);
  } else if constexpr (kType == BlockType::q4_1) {
    read_block_of_32<Lanes, false, true>(block, out);
  } else if constexpr (kType == BlockType::q5_0) {
    read_block_of_32<Lanes, true, false>(block, out);
  } else if constexpr (kType == BlockType::q5_1) {
    read_block_of_32<Lanes, true, true>(block, out);
  } else if constexpr (kType == BlockType::q8_0) {
    read_q8_0<Lanes>(block, out);
  } else if constexpr (kType == BlockType::q2_k) {
    read_q2_k<Lanes>(block, out);
  } else if constexpr (kType == BlockType::q3_k) {
    read_q3_k<Lanes>(block, out);
  } else if constexpr (kType == BlockType::q4_k) {
    read_q4_or_q5_k<Lanes, false>(block, out);
  } else if constexpr (kType == BlockType::q5_k) {
    read_q4_or_q5_k<Lanes, true>(block, out);
  } else if constexpr (kType == BlockType::q6_k) {
    read_q6_k<Lanes>(block, out);
  } else if constexpr (kType == BlockType::iq4_nl) {
    read_iq4_nl<Lanes>(block, out);
  } else {
    static_assert(kType == BlockType::iq4_xs);
    read_iq4_xs<Lanes>(block, out);
  }
}

// Narrower results go through a few numbers of fp32, which stay in the core's first cache.
template <class Lanes, BlockType kType, DType kDestination>
void dequantize(const std::byte* source, std::byte* destination, std::size_t count) noexcept {
  constexpr BlockProperties kBlock = block_properties(kType);
  constexpr std::size_t kElements = kBlock.elements;
  constexpr std::size_t kBytes = kBlock.bytes;
  const auto* block = reinterpret_cast<const std::uint8_t*>(source);
  if constexpr (kDestination == DType::f32) {
    for (; count != 0; --count, block += kBytes, destination += kElements * sizeof(float)) {
      read_block<Lanes, kType>(block, destination);
    }
  } else {
    constexpr std::size_t kAtOnce = 1024 / kElements;
    alignas(64) std::byte numbers[kAtOnce * kElements * sizeof(float)];
    const CastFunction narrow = Lanes::narrow(kDestination);
    while (count != 0) {
      const std::size_t some = count < kAtOnce ? count : kAtOnce;
      for (std::size_t index = 0; index < some; ++index) {
        read_block<Lanes, kType>(block + index * kBytes, numbers + index * kElements * sizeof(float));
      }
      narrow(numbers, destination, some * kElements);
      block += some * kBytes;
      destination += some * kElements * kElementBytes<kDestination>;
      count -= some;
    }
  }
}

template <class Lanes, BlockType kType>
inline constexpr CastRow kDequantRow = {{
    &dequantize<Lanes, kType, kCastDestinations[0]>,
    &dequantize<Lanes, kType, kCastDestinations[1]>,
    &dequantize<Lanes, kType, kCastDestinations[2]>,
    &dequantize<Lanes, kType, kCastDestinations[3]>,
}};

template <class Lanes>
inline constexpr DequantTable kDequantTable = {{
    kDequantRow<Lanes, kDequantTypes[0]>,
    kDequantRow<Lanes, kDequantTypes[1]>,
    kDequantRow<Lanes, kDequantTypes[2]>,
    kDequantRow<Lanes, kDequantTypes[3]>,
    kDequantRow<Lanes, kDequantTypes[4]>,
    kDequantRow<Lanes, kDequantTypes[5]>,
    kDequantRow<Lanes, kDequantTypes[6]>,
    kDequantRow<Lanes, kDequantTypes[7]>,
    kDequantRow<Lanes, kDequantTypes[8]>,
    kDequantRow<Lanes, kDequantTypes[9]>,
    kDequantRow<Lanes, kDequantTypes[10]>,
    kDequantRow<Lanes, kDequantTypes[11]>,
}};
static_assert(kDequantTypeCount == 12 && kCastDestinationCount == 4);

namespace {

// The cast from fp32 in a table.
CastFunction narrow_by(const CastTable& table, DType destination) noexcept {
  constexpr std::size_t kFloats = 2;
  static_assert(kCastSources[kFloats] == DType::f32);
  for (std::size_t index = 0; index < kCastDestinationCount; ++index) {
    if (kCastDestinations[index] == destination) return table.rows[kFloats].functions[index];
  }
  return nullptr;
}

}  // namespace

}  // namespace warpload::convert_internal
