// Expected values are computed number by number from the definitions in ggml's sources, never by the code under test.
#include "convert/dequant.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "warpload/block_type.hpp"

namespace warpload {
namespace {

constexpr BlockType kTypes[] = {BlockType::q4_0, BlockType::q4_1, BlockType::q5_0,   BlockType::q5_1,
                                BlockType::q8_0, BlockType::q2_k, BlockType::q3_k,   BlockType::q4_k,
                                BlockType::q5_k, BlockType::q6_k, BlockType::iq4_nl, BlockType::iq4_xs};
constexpr DType kResults[] = {DType::f16, DType::bf16, DType::f32, DType::f64};

std::vector<SimdLevel> available_levels() {
  std::vector<SimdLevel> levels{SimdLevel::kScalar};
  const SimdLevel best = best_simd_level();
  if (best == SimdLevel::kAvx512) levels.push_back(SimdLevel::kAvx2);
  if (best != SimdLevel::kScalar) levels.push_back(best);
  return levels;
}

std::vector<std::byte> random_blocks(BlockType type, std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<std::byte> bytes(count * block_bytes(type));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
  return bytes;
}

// A block's bytes, and what the formulas below take out of them.
class Block {
 public:
  explicit Block(const std::byte* bytes) : bytes_(bytes) {}

  [[nodiscard]] int byte(unsigned at) const { return std::to_integer<int>(bytes_[at]); }
  [[nodiscard]] int nibble(unsigned at, unsigned which) const { return byte(at) >> (4 * which) & 15; }
  [[nodiscard]] int bit(unsigned begin, unsigned number) const { return byte(begin + number / 8) >> number % 8 & 1; }
  [[nodiscard]] int signed_byte(unsigned at) const { return static_cast<std::int8_t>(byte(at)); }

  [[nodiscard]] float half(unsigned at) const {
    const int bits = byte(at) | byte(at + 1) << 8;
    const int exponent = bits >> 10 & 31;
    const int mantissa = bits & 1023;
    float value = 0;
    if (exponent == 31) {
      value = mantissa == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    } else {
      value = std::ldexp(static_cast<float>(exponent == 0 ? mantissa : mantissa + 1024), std::max(exponent, 1) - 25);
    }
    return (bits & 0x8000) != 0 ? -value : value;
  }

 private:
  const std::byte* bytes_;
};

constexpr int kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// get_scale_min_k4 of ggml.
std::pair<int, int> scale_and_minimum(const Block& block, unsigned j) {
  if (j < 4) return {block.byte(4 + j) & 63, block.byte(8 + j) & 63};
  return {(block.byte(8 + j) & 15) | (block.byte(j) >> 6 << 4), block.byte(8 + j) >> 4 | (block.byte(4 + j) >> 6 << 4)};
}

// Volatile, so that no compiler fuses a product and a sum.
float product(float left, float right) {
  const volatile float result = left * right;
  return result;
}
float difference(float left, float right) {
  const volatile float result = left - right;
  return result;
}
float sum(float left, float right) { return difference(left, -right); }

float of_32(BlockType type, const Block& block, unsigned e) {
  const unsigned half = e / 16;
  const unsigned i = e % 16;
  switch (type) {
    case BlockType::q4_0:
      return product(block.half(0), static_cast<float>(block.nibble(2 + i, half) - 8));
    case BlockType::q4_1:
      return sum(product(block.half(0), static_cast<float>(block.nibble(4 + i, half))), block.half(2));
    case BlockType::q5_0:
      return product(block.half(0), static_cast<float>((block.nibble(6 + i, half) | block.bit(2, e) << 4) - 16));
    case BlockType::q5_1:
      return sum(product(block.half(0), static_cast<float>(block.nibble(8 + i, half) | block.bit(4, e) << 4)),
                 block.half(2));
    case BlockType::q8_0:
      return product(block.half(0), static_cast<float>(block.signed_byte(2 + e)));
    default:
      return product(block.half(0), static_cast<float>(kTable[block.nibble(2 + i, half)]));
  }
}

float of_256(BlockType type, const Block& block, unsigned e) {
  const unsigned two_bits = 32 * (e / 128) + e % 32;  // which byte of 64 has two bits of e
  const unsigned two_shift = 2 * (e / 32 % 4);
  switch (type) {
    case BlockType::q2_k: {
      const float scale = product(block.half(80), static_cast<float>(block.nibble(e / 16, 0)));
      const float minimum = product(block.half(82), static_cast<float>(block.nibble(e / 16, 1)));
      return difference(product(scale, static_cast<float>(block.byte(16 + two_bits) >> two_shift & 3)), minimum);
    }
    case BlockType::q3_k: {
      const unsigned group = e / 16;
      const int scale = block.nibble(96 + group % 8, group / 8) | (block.byte(104 + group % 4) >> (2 * (group / 4)) & 3)
                                                                      << 4;
      const bool has_high = (block.byte(e % 32) >> (e / 32) & 1) != 0;
      const int number = (block.byte(32 + two_bits) >> two_shift & 3) - (has_high ? 0 : 4);
      return product(product(block.half(108), static_cast<float>(scale - 32)), static_cast<float>(number));
    }
    case BlockType::q4_k:
    case BlockType::q5_k: {
      const bool five = type == BlockType::q5_k;
      const auto [scale, minimum] = scale_and_minimum(block, e / 32);
      int number = block.nibble((five ? 48 : 16) + 32 * (e / 64) + e % 32, e / 32 % 2);
      if (five) number |= (block.byte(16 + e % 32) >> (e / 32) & 1) << 4;
      return difference(product(product(block.half(0), static_cast<float>(scale)), static_cast<float>(number)),
                        product(block.half(2), static_cast<float>(minimum)));
    }
    case BlockType::q6_k: {
      const int number =
          block.nibble(64 * (e / 128) + e % 64, e / 64 % 2) | (block.byte(128 + two_bits) >> two_shift & 3) << 4;
      const float scale = product(block.half(208), static_cast<float>(block.signed_byte(192 + e / 16)));
      return product(scale, static_cast<float>(number - 32));
    }
    default: {
      const unsigned group = e / 32;
      const int high = (block.byte(2) | block.byte(3) << 8) >> (2 * group) & 3;
      const int scale = block.nibble(4 + group / 2, group % 2) | high << 4;
      const int number = kTable[block.nibble(8 + 16 * group + e % 16, e % 32 / 16)];
      return product(product(block.half(0), static_cast<float>(scale - 32)), static_cast<float>(number));
    }
  }
}

float expected(BlockType type, const Block& block, unsigned e) {
  return block_elements(type) == 32 ? of_32(type, block, e) : of_256(type, block, e);
}

// Which of two NaN survives a sum is the processor's affair; all other numbers have one right pattern.
bool is_same(float left, float right) {
  if (std::isnan(left) || std::isnan(right)) return std::isnan(left) && std::isnan(right);
  return std::bit_cast<std::uint32_t>(left) == std::bit_cast<std::uint32_t>(right);
}

class DequantAtLevel : public ::testing::TestWithParam<SimdLevel> {};

TEST_P(DequantAtLevel, EveryNumberIsWhatTheFormatSays) {
  constexpr std::size_t kCount = 300;
  for (const BlockType type : kTypes) {
    const auto blocks = random_blocks(type, kCount, 1);
    const unsigned elements = block_elements(type);
    std::vector<float> numbers(kCount * elements);
    find_dequantization(type, DType::f32, GetParam())(blocks.data(), reinterpret_cast<std::byte*>(numbers.data()),
                                                      kCount);
    for (std::size_t block = 0; block < kCount; ++block) {
      const Block bytes(blocks.data() + block * block_bytes(type));
      for (unsigned e = 0; e < elements; ++e) {
        ASSERT_TRUE(is_same(numbers[block * elements + e], expected(type, bytes, e)))
            << block_type_name(type) << " block " << block << " element " << e << ": " << numbers[block * elements + e];
      }
    }
  }
}

TEST_P(DequantAtLevel, OtherDTypesAreTheCastOfFp32) {
  for (const BlockType type : kTypes) {
    for (const DType result : kResults) {
      if (result == DType::f32) continue;
      for (const std::size_t count : {1U, 3U, 37U, 130U}) {
        const auto blocks = random_blocks(type, count, 2);
        const std::size_t elements = count * block_elements(type);
        std::vector<std::byte> numbers(elements * 4);
        find_dequantization(type, DType::f32, GetParam())(blocks.data(), numbers.data(), count);
        std::vector<std::byte> wanted(elements * dtype_bits(result) / 8);
        find_cast(DType::f32, result, GetParam())(numbers.data(), wanted.data(), elements);
        std::vector<std::byte> found(wanted.size());
        find_dequantization(type, result, GetParam())(blocks.data(), found.data(), count);
        EXPECT_EQ(found, wanted) << block_type_name(type) << " to " << dtype_name(result) << ", " << count;
      }
    }
  }
}

TEST_P(DequantAtLevel, NothingIsReadOrWrittenBesideTheBlocksWhereverTheyLie) {
  for (const BlockType type : kTypes) {
    for (const DType result : kResults) {
      const auto blocks = random_blocks(type, 2, 3);
      const std::size_t bytes = 2 * block_elements(type) * dtype_bits(result) / 8;
      std::vector<std::byte> wanted(bytes);
      find_dequantization(type, result, GetParam())(blocks.data(), wanted.data(), 2);
      for (std::size_t offset = 1; offset < 4; ++offset) {
        std::vector<std::byte> source(offset);  // its end is that of the blocks: sanitizers see whoever reads on
        source.insert(source.end(), blocks.begin(), blocks.end());
        std::vector<std::byte> found(offset + bytes + 64, std::byte{0xA5});
        find_dequantization(type, result, GetParam())(source.data() + offset, found.data() + offset, 2);
        EXPECT_EQ(std::memcmp(found.data() + offset, wanted.data(), bytes), 0) << block_type_name(type);
        for (std::size_t at = 0; at < found.size(); ++at) {
          const bool beside = at < offset || at >= offset + bytes;
          ASSERT_TRUE(!beside || found[at] == std::byte{0xA5}) << block_type_name(type) << " at " << at;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, DequantAtLevel, ::testing::ValuesIn(available_levels()),
                         [](const auto& level) { return "level" + std::to_string(static_cast<int>(level.param)); });

TEST(DequantSupport, TheTypesThatTheHeaderNamesAreSupportedAndNoOther) {
  for (unsigned number = 0; number < 64; ++number) {
    const auto type = static_cast<BlockType>(number);
    const bool known = std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
    for (int dtype = 0; dtype < kDTypeCount; ++dtype) {
      const auto result = static_cast<DType>(dtype);
      const bool supported = known && std::find(std::begin(kResults), std::end(kResults), result) != std::end(kResults);
      EXPECT_EQ(is_dequantization_supported(type, result), supported) << number << " to " << dtype;
    }
  }
}

}  // namespace
}  // namespace warpload
