// Expected values come from cast_reference.hpp and from bit patterns that torch 2.13 gave, never from the
// code under test.
#include "convert/cast.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cast_reference.hpp"
#include "warpload/dtype.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace warpload {
namespace {

using cast_reference::bytes_of;
using cast_reference::every_pattern;
using cast_reference::is_nan;
using cast_reference::is_nearest;
using cast_reference::kDestinations;
using cast_reference::kSources;
using cast_reference::pack;
using cast_reference::patterns_to_try;
using cast_reference::random_patterns;
using cast_reference::read_element;
using cast_reference::value_of;

constexpr SimdLevel kAllLevels[] = {SimdLevel::kScalar, SimdLevel::kAvx2, SimdLevel::kAvx512, SimdLevel::kNeon};

std::vector<std::uint64_t> cast_patterns(SimdLevel level, DType source, DType destination,
                                         const std::vector<std::uint64_t>& patterns) {
  const std::vector<std::byte> input = pack(source, patterns);
  std::vector<std::byte> output(patterns.size() * bytes_of(destination));
  find_cast(source, destination, level)(input.data(), output.data(), patterns.size());
  std::vector<std::uint64_t> result(patterns.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = read_element(destination, output.data() + i * bytes_of(destination));
  }
  return result;
}

bool is_available(SimdLevel level) {
  const SimdLevel best = best_simd_level();
  if (level == SimdLevel::kScalar || level == best) return true;
  return level == SimdLevel::kAvx2 && best == SimdLevel::kAvx512;  // a processor that has AVX-512 has AVX2
}

std::vector<SimdLevel> available_levels() {
  std::vector<SimdLevel> levels;
  for (const SimdLevel level : kAllLevels) {
    if (is_available(level)) levels.push_back(level);
  }
  return levels;
}

std::string level_name(SimdLevel level) {
  constexpr const char* kNames[] = {"Scalar", "Avx2", "Avx512", "Neon"};
  return kNames[static_cast<int>(level)];
}

class CastAtLevel : public testing::TestWithParam<SimdLevel> {
 protected:
  // The result of one pattern, which must not depend on its place in the array.
  static std::uint64_t cast_one(DType source, DType destination, std::uint64_t bits) {
    const auto results = cast_patterns(GetParam(), source, destination, std::vector<std::uint64_t>(67, bits));
    for (const std::uint64_t result : results) EXPECT_EQ(result, results.front());
    return results.front();
  }
};

INSTANTIATE_TEST_SUITE_P(EveryLevel, CastAtLevel, testing::ValuesIn(available_levels()),
                         [](const auto& level) { return level_name(level.param); });

TEST_P(CastAtLevel, EveryNumberOfANarrowTypeRoundsToTheNearest) {
  for (const DType source : {DType::f16, DType::bf16, DType::f8_e4m3, DType::f8_e5m2}) {
    const auto patterns = every_pattern(source);
    for (const DType destination : kDestinations) {
      if (source == destination) continue;
      const auto results = cast_patterns(GetParam(), source, destination, patterns);
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        if (is_nan(source, patterns[i])) continue;
        ASSERT_TRUE(is_nearest(destination, results[i], value_of(source, patterns[i])))
            << dtype_name(source) << " to " << dtype_name(destination) << std::hex << ": " << patterns[i] << " gave "
            << results[i];
      }
    }
  }
}

TEST_P(CastAtLevel, Fp32RoundsToTheNearestEven) {
  const auto patterns = patterns_to_try(DType::f32);
  for (const DType destination : {DType::f16, DType::bf16, DType::f64}) {
    const auto results = cast_patterns(GetParam(), DType::f32, destination, patterns);
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (is_nan(DType::f32, patterns[i])) continue;
      ASSERT_TRUE(is_nearest(destination, results[i], value_of(DType::f32, patterns[i])))
          << dtype_name(destination) << std::hex << ": " << patterns[i] << " gave " << results[i];
    }
  }
}

TEST_P(CastAtLevel, Fp64RoundsToTheNearestFp32) {
  const auto patterns = patterns_to_try(DType::f64);
  const auto results = cast_patterns(GetParam(), DType::f64, DType::f32, patterns);
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    if (is_nan(DType::f64, patterns[i])) continue;
    ASSERT_TRUE(is_nearest(DType::f32, results[i], std::bit_cast<double>(patterns[i])))
        << std::hex << patterns[i] << " gave " << results[i];
  }
}

TEST_P(CastAtLevel, Fp64RoundsTwiceOnItsWayToANarrowType) {
  // 1 + 2^-8 + 2^-40 lies over the tie of bf16 and rounds up to it when fp32 comes first, which then goes to
  // even; so does 1 + 2^-11 + 2^-40 for fp16.
  const auto over_bf16_tie = std::bit_cast<std::uint64_t>(1.0 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40));
  const auto over_fp16_tie = std::bit_cast<std::uint64_t>(1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40));
  EXPECT_EQ(cast_one(DType::f64, DType::bf16, over_bf16_tie), 0x3f80U);
  EXPECT_EQ(cast_one(DType::f64, DType::f16, over_fp16_tie), 0x3c00U);
}

TEST_P(CastAtLevel, Fp64GoesByFp32ToEveryNarrowType) {
  const auto patterns = patterns_to_try(DType::f64);
  const auto singles = cast_patterns(GetParam(), DType::f64, DType::f32, patterns);
  for (const DType destination : {DType::f16, DType::bf16}) {
    EXPECT_EQ(cast_patterns(GetParam(), DType::f64, destination, patterns),
              cast_patterns(GetParam(), DType::f32, destination, singles));
  }
}

TEST_P(CastAtLevel, TheEdgesOfFp16AreExact) {
  struct Edge {
    std::uint64_t fp32;
    std::uint64_t fp16;
  };
  constexpr Edge kEdges[] = {
      {0x477fe000, 0x7bff},  // 65504, the largest
      {0x477fefff, 0x7bff},  // right under 65520, the tie with infinity
      {0x477ff000, 0x7c00},  // 65520
      {0x47800000, 0x7c00},  // 65536
      {0x7f7fffff, 0x7c00},  // the largest fp32
      {0xff800000, 0xfc00},  // -infinity
      {0x387fc000, 0x03ff},  // the largest subnormal
      {0x387fe000, 0x0400},  // the tie between it and the smallest normal
      {0x33800000, 0x0001},  // 2^-24, the smallest subnormal
      {0x33000001, 0x0001},  // right over 2^-25
      {0x33000000, 0x0000},  // 2^-25, the tie with zero
      {0xb3000000, 0x8000},  // and negative: zero keeps its sign
      {0x80000000, 0x8000}, {0x00000001, 0x0000},
  };
  for (const Edge& edge : kEdges) {
    EXPECT_EQ(cast_one(DType::f32, DType::f16, edge.fp32), edge.fp16) << std::hex << edge.fp32;
  }
}

TEST_P(CastAtLevel, TheEdgesOfBf16AreExact) {
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x7f7f7fff), 0x7f7fU);
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x7f7f8000), 0x7f80U);  // overflow to infinity
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0xff7fffff), 0xff80U);
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x00008000), 0x0000U);  // subnormal ties are not flushed
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x00008001), 0x0001U);
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x80018000), 0x8002U);
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x3f808000), 0x3f80U);
  EXPECT_EQ(cast_one(DType::f32, DType::bf16, 0x3f818000), 0x3f82U);
}

// NaN patterns: what torch 2.13 gives on x86 with AVX-512.

TEST_P(CastAtLevel, Fp16NanIsQuietedAndKeepsItsPayload) {
  EXPECT_EQ(cast_one(DType::f16, DType::f32, 0x7c01), 0x7fc02000U);
  EXPECT_EQ(cast_one(DType::f16, DType::f32, 0xffff), 0xffffe000U);
  EXPECT_EQ(cast_one(DType::f16, DType::f64, 0xfc01), 0xfff8040000000000U);
}

TEST_P(CastAtLevel, Bf16NanIsNotQuietedInFp32) {
  EXPECT_EQ(cast_one(DType::bf16, DType::f32, 0x7f81), 0x7f810000U);
  EXPECT_EQ(cast_one(DType::bf16, DType::f32, 0xffff), 0xffff0000U);
}

TEST_P(CastAtLevel, Bf16NanIsQuietedInFp16AndFp64) {
  EXPECT_EQ(cast_one(DType::bf16, DType::f16, 0x7f81), 0x7e08U);
  EXPECT_EQ(cast_one(DType::bf16, DType::f16, 0xff82), 0xfe10U);
  EXPECT_EQ(cast_one(DType::bf16, DType::f64, 0x7f81), 0x7ff8200000000000U);
}

TEST_P(CastAtLevel, Fp8NanHasTheBitsOfTorch) {
  EXPECT_EQ(cast_one(DType::f8_e4m3, DType::f32, 0x7f), 0x7ff00000U);
  EXPECT_EQ(cast_one(DType::f8_e4m3, DType::f32, 0xff), 0xfff00000U);
  EXPECT_EQ(cast_one(DType::f8_e4m3, DType::f16, 0xff), 0xff80U);
  EXPECT_EQ(cast_one(DType::f8_e4m3, DType::f64, 0x7f), 0x7ffe000000000000U);
  EXPECT_EQ(cast_one(DType::f8_e5m2, DType::f32, 0x7d), 0x7fe00000U);
  EXPECT_EQ(cast_one(DType::f8_e5m2, DType::f32, 0x7e), 0x7fc00000U);
  EXPECT_EQ(cast_one(DType::f8_e5m2, DType::f16, 0xfd), 0xff00U);
  EXPECT_EQ(cast_one(DType::f8_e5m2, DType::f64, 0x7f), 0x7ffc000000000000U);
}

TEST_P(CastAtLevel, Fp16NanBecomesCanonicalBf16Nan) {
  for (const std::uint64_t nan : {0x7c01U, 0x7e00U, 0x7fffU, 0xfc01U, 0xffffU}) {
    EXPECT_EQ(cast_one(DType::f16, DType::bf16, nan), 0x7fc0U) << std::hex << nan;
  }
}

TEST_P(CastAtLevel, Fp8NanBecomesCanonicalBf16Nan) {
  for (const std::uint64_t nan : {0x7fU, 0xffU}) {
    EXPECT_EQ(cast_one(DType::f8_e4m3, DType::bf16, nan), 0x7fc0U) << std::hex << nan;
  }
  for (const std::uint64_t nan : {0x7dU, 0x7eU, 0xfdU, 0xffU}) {
    EXPECT_EQ(cast_one(DType::f8_e5m2, DType::bf16, nan), 0x7fc0U) << std::hex << nan;
  }
}

TEST_P(CastAtLevel, WideNanBecomesBf16OfAllOnes) {
  for (const std::uint64_t nan : {0x7f800001U, 0x7fc00000U, 0x7fffffffU, 0xff800001U}) {
    EXPECT_EQ(cast_one(DType::f32, DType::bf16, nan), 0xffffU) << std::hex << nan;
  }
  EXPECT_EQ(cast_one(DType::f64, DType::bf16, 0x7ff0000000000001), 0xffffU);
}

TEST_P(CastAtLevel, Fp32NanKeepsTheUpperPayloadInFp16) {
  EXPECT_EQ(cast_one(DType::f32, DType::f16, 0x7f802000), 0x7e01U);
  EXPECT_EQ(cast_one(DType::f32, DType::f16, 0xff800001), 0xfe00U);
}

TEST_P(CastAtLevel, EveryNanStaysNan) {
  for (const DType source : kSources) {
    const auto patterns = patterns_to_try(source);
    for (const DType destination : kDestinations) {
      if (source == destination) continue;
      const auto results = cast_patterns(GetParam(), source, destination, patterns);
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        ASSERT_EQ(is_nan(source, patterns[i]), is_nan(destination, results[i])) << std::hex << patterns[i];
      }
    }
  }
}

TEST_P(CastAtLevel, GivesTheBitsOfTheScalarCast) {
  for (const DType source : kSources) {
    const auto patterns = patterns_to_try(source);
    for (const DType destination : kDestinations) {
      if (source == destination) continue;
      const auto expected = cast_patterns(SimdLevel::kScalar, source, destination, patterns);
      const auto results = cast_patterns(GetParam(), source, destination, patterns);
      for (std::size_t i = 0; i < patterns.size(); ++i) {
        ASSERT_EQ(results[i], expected[i])
            << dtype_name(source) << " to " << dtype_name(destination) << std::hex << ": " << patterns[i];
      }
    }
  }
}

// Casts `count` elements between arrays of exactly that size (so that an address sanitizer sees a read past
// the end) at the given distances from an aligned address, and holds the result and the bytes around it
// against `expected`.
void expect_cast_of_misaligned(CastFunction cast, const std::vector<std::byte>& input,
                               const std::vector<std::byte>& expected, std::size_t source_offset,
                               std::size_t destination_offset, std::size_t count) {
  constexpr std::size_t kGuard = 64;
  constexpr std::byte kGuardByte{0xa5};
  std::vector<std::byte> source(source_offset);
  source.insert(source.end(), input.begin(), input.end());
  std::vector<std::byte> destination(destination_offset + expected.size() + kGuard, kGuardByte);
  std::vector<std::byte> wanted = destination;
  for (std::size_t i = 0; i < expected.size(); ++i) wanted[destination_offset + i] = expected[i];
  cast(source.data() + source_offset, destination.data() + destination_offset, count);
  ASSERT_TRUE(destination == wanted) << count << " elements at " << source_offset << ", " << destination_offset;
}

TEST_P(CastAtLevel, AnyLengthAtAnyAddressWritesItsElementsAndNothingElse) {
  for (const DType source : kSources) {
    for (const DType destination : kDestinations) {
      if (source == destination) continue;
      const CastFunction cast = find_cast(source, destination, GetParam());
      for (std::size_t count = 0; count <= 67; ++count) {
        const auto patterns = random_patterns(source, count);
        const auto expected = pack(destination, cast_patterns(SimdLevel::kScalar, source, destination, patterns));
        const auto input = pack(source, patterns);
        for (const std::size_t source_offset : {0U, 1U, 3U}) {
          for (const std::size_t destination_offset : {0U, 1U, 2U, 7U}) {
            ASSERT_NO_FATAL_FAILURE(
                expect_cast_of_misaligned(cast, input, expected, source_offset, destination_offset, count));
          }
        }
      }
    }
  }
}

TEST_P(CastAtLevel, NoElementsNeedNoMemory) {
  for (const DType source : kSources) {
    for (const DType destination : kDestinations) {
      if (source != destination) find_cast(source, destination, GetParam())(nullptr, nullptr, 0);
    }
  }
}

#if defined(__x86_64__)

__attribute__((target("f16c"))) std::uint64_t fp16_of_the_processor(std::uint64_t fp32) {
  const __m128 single = _mm_set_ss(std::bit_cast<float>(static_cast<std::uint32_t>(fp32)));
  const __m128i half = _mm_cvtps_ph(single, _MM_FROUND_TO_NEAREST_INT);
  return static_cast<std::uint64_t>(_mm_cvtsi128_si32(half)) & 0xffffU;
}

TEST(ScalarCast, Fp32ToFp16IsWhatTheProcessorDoes) {
  if (!is_available(SimdLevel::kAvx2)) GTEST_SKIP() << "needs F16C";
  const auto patterns = patterns_to_try(DType::f32);
  const auto results = cast_patterns(SimdLevel::kScalar, DType::f32, DType::f16, patterns);
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    ASSERT_EQ(results[i], fp16_of_the_processor(patterns[i])) << std::hex << patterns[i];
  }
}

#endif

TEST(CastSupport, EveryFloatPairOfDifferentTypesIsSupportedAndNoOther) {
  for (int s = 0; s < kDTypeCount; ++s) {
    for (int d = 0; d < kDTypeCount; ++d) {
      const auto source = static_cast<DType>(s);
      const auto destination = static_cast<DType>(d);
      bool expected = false;
      for (const DType from : kSources) {
        for (const DType to : kDestinations) {
          expected = expected || (source == from && destination == to && from != to);
        }
      }
      EXPECT_EQ(is_cast_supported(source, destination), expected) << s << " to " << d;
      for (const SimdLevel level : available_levels()) {
        EXPECT_EQ(find_cast(source, destination, level) != nullptr, expected) << s << " to " << d;
      }
    }
  }
}

}  // namespace
}  // namespace warpload
