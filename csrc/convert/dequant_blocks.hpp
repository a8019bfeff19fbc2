// What one block of each type stands for, sixteen numbers at a time.
//
// As in cast_loop.hpp everything is a template over a class that the including file defines in an anonymous namespace,
// so that nothing here has linkage, and nothing from std:: is instantiated. That class, Lanes, has
//   Ints                                     sixteen integers
//   float_of(std::uint16_t)                  the fp16 number with these bits
//   load(bytes), load_signed(bytes)          the next sixteen bytes, each a number
//   bits(std::uint32_t)                      its sixteen lowest bits, each a number
//   field(ints, shift, mask)                 ints >> shift & mask
//   join(low, high, shift)                   low | high << shift
//   minus(ints, number)
//   look_up(ints)                            the IQ4 types' value for each; of at most 15
//   store(out, ints, scale)                  ints * scale as fp32
//   store_sum(out, ints, scale, other)       ints * scale + other
//   store_difference(out, ints, scale, other)
//   narrow(DType destination)                the cast from fp32 of its own instruction set
//
// The reference multiplies and adds in fp32, one operation after the other: files that include this are compiled so
// that no two of them are fused. Comments name an element's number by e.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warpload::convert_internal {

// Bytes of sixteen results.
inline constexpr std::size_t kStep = 16 * sizeof(float);

// What 16 values a nibble stands for, in the IQ4 types.
inline constexpr std::int8_t kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

template <class Lanes>
float half_at(const std::uint8_t* bytes) noexcept {
  return Lanes::float_of(static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8));
}

// Blocks of 32: e < 16 in the low halves of the bytes, the others in the high ones; a fifth bit in bit e of 32.
template <class Lanes, bool kFifthBit, bool kHasMinimum>
void read_block_of_32(const std::uint8_t* block, std::byte* out) noexcept {
  const float scale = half_at<Lanes>(block);
  const std::uint8_t* const fifth = block + (kHasMinimum ? 4 : 2);
  const typename Lanes::Ints both = Lanes::load(fifth + (kFifthBit ? 4 : 0));
  for (unsigned half = 0; half < 2; ++half) {
    typename Lanes::Ints numbers = Lanes::field(both, 4 * half, 15);
    if constexpr (kFifthBit) {
      const std::uint8_t* const at = fifth + 2 * half;
      numbers = Lanes::join(numbers, Lanes::bits(static_cast<std::uint32_t>(at[0] | at[1] << 8)), 4);
    }
    if constexpr (kHasMinimum) {
      Lanes::store_sum(out + half * kStep, numbers, scale, half_at<Lanes>(block + 2));
    } else {
      Lanes::store(out + half * kStep, Lanes::minus(numbers, kFifthBit ? 16 : 8), scale);
    }
  }
}

template <class Lanes>
void read_q8_0(const std::uint8_t* block, std::byte* out) noexcept {
  const float scale = half_at<Lanes>(block);
  Lanes::store(out, Lanes::load_signed(block + 2), scale);
  Lanes::store(out + kStep, Lanes::load_signed(block + 18), scale);
}

// Of e, the two bits are in byte e % 32 of its half of the block; each 16 have a scale and a minimum.
template <class Lanes>
void read_q2_k(const std::uint8_t* block, std::byte* out) noexcept {
  const std::uint8_t* const scales = block;
  const float scale = half_at<Lanes>(block + 80);
  const float minimum = half_at<Lanes>(block + 82);
  for (unsigned group = 0; group < 16; ++group) {
    const auto bits = Lanes::load(block + 16 + 32 * (group / 8) + 16 * (group % 2));
    const auto numbers = Lanes::field(bits, 2 * (group / 2 % 4), 3);
    Lanes::store_difference(out + group * kStep, numbers, scale * static_cast<float>(scales[group] & 15),
                            minimum * static_cast<float>(scales[group] >> 4));
  }
}

// As Q2_K, with a third bit of e in bit e / 32 of byte e % 32 of the mask, 4 taken off, and scales of six bits without
// minima.
template <class Lanes>
void read_q3_k(const std::uint8_t* block, std::byte* out) noexcept {
  const std::uint8_t* const scales = block + 96;
  const float scale = half_at<Lanes>(block + 108);
  for (unsigned group = 0; group < 16; ++group) {
    const auto bits = Lanes::load(block + 32 + 32 * (group / 8) + 16 * (group % 2));
    const auto mask = Lanes::load(block + 16 * (group % 2));
    const auto numbers = Lanes::join(Lanes::field(bits, 2 * (group / 2 % 4), 3), Lanes::field(mask, group / 2, 1), 2);
    const int low = scales[group % 8] >> (4 * (group / 8)) & 15;
    const int high = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
    Lanes::store(out + group * kStep, Lanes::minus(numbers, 4), scale * static_cast<float>((low | high << 4) - 32));
  }
}

// The scale and the minimum, of six bits, of each 32 numbers of Q4_K and Q5_K.
template <class Lanes>
struct KScale {
  int scale;
  int minimum;

  static KScale at(const std::uint8_t* scales, unsigned group) noexcept {
    if (group < 4) return {scales[group] & 63, scales[group + 4] & 63};
    return {(scales[group + 4] & 15) | (scales[group - 4] >> 2 & 0x30),
            (scales[group + 4] >> 4) | (scales[group] >> 2 & 0x30)};
  }
};

// Of e, four bits are in byte e % 32 of its quarter of the block; Q5_K has a fifth in bit e / 32 of byte e % 32 of what
// stands before.
template <class Lanes, bool kFifthBit>
void read_q4_or_q5_k(const std::uint8_t* block, std::byte* out) noexcept {
  const float scale = half_at<Lanes>(block);
  const float minimum = half_at<Lanes>(block + 2);
  const std::uint8_t* const fifth = block + 16;
  const std::uint8_t* const bytes = block + (kFifthBit ? 48 : 16);
  for (unsigned group = 0; group < 8; ++group) {
    const auto own = KScale<Lanes>::at(block + 4, group);
    const float own_scale = scale * static_cast<float>(own.scale);
    const float own_minimum = minimum * static_cast<float>(own.minimum);
    for (unsigned half = 0; half < 2; ++half) {
      auto numbers = Lanes::field(Lanes::load(bytes + 32 * (group / 2) + 16 * half), 4 * (group % 2), 15);
      if constexpr (kFifthBit) {
        numbers = Lanes::join(numbers, Lanes::field(Lanes::load(fifth + 16 * half), group, 1), 4);
      }
      Lanes::store_difference(out + (2 * group + half) * kStep, numbers, own_scale, own_minimum);
    }
  }
}

// Of e, four bits are in byte e % 64 of its half of the first 128, two in byte e % 32 of its half of the next 64; each
// 16 have a scale.
template <class Lanes>
void read_q6_k(const std::uint8_t* block, std::byte* out) noexcept {
  const float scale = half_at<Lanes>(block + 208);
  for (unsigned group = 0; group < 16; ++group) {
    const auto low = Lanes::load(block + 64 * (group / 8) + 16 * (group % 4));
    const auto high = Lanes::load(block + 128 + 32 * (group / 8) + 16 * (group % 2));
    const auto numbers =
        Lanes::join(Lanes::field(low, 4 * (group / 4 % 2), 15), Lanes::field(high, 2 * (group / 2 % 4), 3), 4);
    const auto own_scale = static_cast<std::int8_t>(block[192 + group]);
    Lanes::store(out + group * kStep, Lanes::minus(numbers, 32), scale * static_cast<float>(own_scale));
  }
}

// 32 numbers by the table, the first sixteen in the low halves of the bytes.
template <class Lanes>
void read_non_linear(const std::uint8_t* bytes, float scale, std::byte* out) noexcept {
  const auto both = Lanes::load(bytes);
  for (unsigned half = 0; half < 2; ++half) {
    Lanes::store(out + half * kStep, Lanes::look_up(Lanes::field(both, 4 * half, 15)), scale);
  }
}

template <class Lanes>
void read_iq4_nl(const std::uint8_t* block, std::byte* out) noexcept {
  read_non_linear<Lanes>(block + 2, half_at<Lanes>(block), out);
}

// Groups of 32 as IQ4_NL's blocks, with scales of six bits: four in a nibble, two in a number of 16 bits.
template <class Lanes>
void read_iq4_xs(const std::uint8_t* block, std::byte* out) noexcept {
  const float scale = half_at<Lanes>(block);
  const int high_bits = block[2] | block[3] << 8;
  for (unsigned group = 0; group < 8; ++group) {
    const int low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
    const int high = high_bits >> (2 * group) & 3;
    read_non_linear<Lanes>(block + 8 + 16 * group, scale * static_cast<float>((low | high << 4) - 32),
                           out + 2 * group * kStep);
  }
}

}  // namespace warpload::convert_internal
