// There may be no GPU where this runs: what the kernels do with an element is compiled for the host here, from the same
// template, and held against the casts of the CPU.
#include "convert/cast_kernels.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cast_reference.hpp"
#include "convert/cast.hpp"
#include "convert/cast_element.hpp"
#include "warpload/dtype.hpp"

namespace warpload {
namespace {

using cast_reference::bytes_of;
using cast_reference::is_wide;
using cast_reference::kDestinations;
using cast_reference::kSources;

// What a kernel's threads do, one after the other.
template <DType kSource, DType kDestination>
void cast_by_element(const std::vector<std::byte>& input, std::vector<std::byte>& output) {
  using Source = elements::Bits<kSource>;
  using Destination = elements::Bits<kDestination>;
  static_assert(sizeof(Source) <= 8 && sizeof(Destination) <= 8);
  for (std::size_t i = 0; i < input.size() / sizeof(Source); ++i) {
    Source bits;
    std::memcpy(&bits, input.data() + i * sizeof(Source), sizeof(Source));
    const Destination result = elements::cast_element<kSource, kDestination>(bits);
    std::memcpy(output.data() + i * sizeof(Destination), &result, sizeof(Destination));
  }
}

// The patterns of cast_test, and of the wide types many more at random and around each power of two and each NaN.
std::vector<std::uint64_t> kernel_patterns(DType source) {
  std::vector<std::uint64_t> patterns = cast_reference::patterns_to_try(source);
  if (!is_wide(source)) return patterns;
  const auto random = cast_reference::random_patterns(source, 2'000'000);
  patterns.insert(patterns.end(), random.begin(), random.end());
  const auto layout = cast_reference::layout_of(source);
  const std::uint64_t sign = std::uint64_t{1} << (cast_reference::bits_of(source) - 1);
  const std::uint64_t last_mantissa = (std::uint64_t{1} << layout.mantissa_bits) - 1;
  for (std::uint64_t exponent = 0; exponent < std::uint64_t{1} << layout.exponent_bits; ++exponent) {
    for (unsigned bit = 0; bit < layout.mantissa_bits; ++bit) {
      const std::uint64_t half = std::uint64_t{1} << bit;
      for (const std::uint64_t mantissa : {half - 1, half, half + 1, half | half << 1U, last_mantissa - half}) {
        const std::uint64_t magnitude = exponent << layout.mantissa_bits | (mantissa & last_mantissa);
        patterns.push_back(magnitude);
        patterns.push_back(sign | magnitude);
      }
    }
  }
  return patterns;
}

template <DType kSource, DType kDestination>
void expect_bits_of_the_cpu(const std::vector<std::byte>& input) {
  const std::size_t count = input.size() / bytes_of(kSource);
  std::vector<std::byte> results(count * bytes_of(kDestination));
  cast_by_element<kSource, kDestination>(input, results);
  for (const SimdLevel level : {SimdLevel::kScalar, best_simd_level()}) {
    std::vector<std::byte> expected(results.size());
    find_cast(kSource, kDestination, level)(input.data(), expected.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t offset = i * bytes_of(kDestination);
      ASSERT_EQ(cast_reference::read_element(kDestination, results.data() + offset),
                cast_reference::read_element(kDestination, expected.data() + offset))
          << dtype_name(kSource) << " to " << dtype_name(kDestination) << " at level " << static_cast<int>(level)
          << std::hex << ": " << cast_reference::read_element(kSource, input.data() + i * bytes_of(kSource));
    }
  }
}

template <DType kSource>
void expect_bits_of_the_cpu_from() {
  const std::vector<std::byte> input = cast_reference::pack(kSource, kernel_patterns(kSource));
  if constexpr (kSource != DType::f16) expect_bits_of_the_cpu<kSource, DType::f16>(input);
  if constexpr (kSource != DType::bf16) expect_bits_of_the_cpu<kSource, DType::bf16>(input);
  if constexpr (kSource != DType::f32) expect_bits_of_the_cpu<kSource, DType::f32>(input);
  if constexpr (kSource != DType::f64) expect_bits_of_the_cpu<kSource, DType::f64>(input);
}

TEST(CastKernelElement, Fp16HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::f16>(); }
TEST(CastKernelElement, Bf16HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::bf16>(); }
TEST(CastKernelElement, Fp32HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::f32>(); }
TEST(CastKernelElement, Fp64HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::f64>(); }
TEST(CastKernelElement, Fp8E4m3HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::f8_e4m3>(); }
TEST(CastKernelElement, Fp8E5m2HasTheBitsOfTheCpu) { expect_bits_of_the_cpu_from<DType::f8_e5m2>(); }

// NaN bits that torch gives on x86, fixed at compile time: no processor has a say in them.
TEST(CastKernelElement, NanBitsDoNotDependOnTheProcessor) {
  static_assert(elements::cast_element<DType::f64, DType::f32>(0x7ff0000000000001) == 0x7fc00000);
  static_assert(elements::cast_element<DType::f64, DType::f32>(0xfff4567890000000) == 0xffe2b3c4);
  static_assert(elements::cast_element<DType::f32, DType::f64>(0x7f800001) == 0x7ff8000020000000);
  static_assert(elements::cast_element<DType::f32, DType::f64>(0xffc12345) == 0xfff82468a0000000);
  static_assert(elements::cast_element<DType::f32, DType::bf16>(0x7fc00000) == 0xffff);
  static_assert(elements::cast_element<DType::f64, DType::bf16>(0x7ff8000000000000) == 0xffff);
  static_assert(elements::cast_element<DType::f16, DType::bf16>(0xfe00) == 0x7fc0);
  static_assert(elements::cast_element<DType::f8_e4m3, DType::f64>(0x7f) == 0x7ffe000000000000);
}

TEST(CastKernelNames, EveryPairHasAKernelOfItsOwnName) {
  EXPECT_EQ(cast_kernel_name(DType::bf16, DType::f32), "warpload_cast_bf16_f32");
  EXPECT_EQ(cast_kernel_name(DType::f64, DType::f16), "warpload_cast_f64_f16");
  EXPECT_EQ(cast_kernel_name(DType::f8_e4m3, DType::bf16), "warpload_cast_f8_e4m3_bf16");
  EXPECT_EQ(cast_kernel_name(DType::f8_e5m2, DType::f64), "warpload_cast_f8_e5m2_f64");
  std::set<std::string> names;
  for (const DType source : kSources) {
    for (const DType destination : kDestinations) names.insert(cast_kernel_name(source, destination));
  }
  EXPECT_EQ(names.size(), 6U * 4U - 4U + 1U);  // four pairs are of one type and share the empty name
}

TEST(CastKernelNames, OnlySupportedPairsHaveOne) {
  for (int s = 0; s < kDTypeCount; ++s) {
    for (int d = 0; d < kDTypeCount; ++d) {
      const auto source = static_cast<DType>(s);
      const auto destination = static_cast<DType>(d);
      EXPECT_EQ(cast_kernel_name(source, destination).empty(), !is_cast_supported(source, destination));
    }
  }
}

#if WARPLOAD_CUDA_KERNELS_BUILT

TEST(EmbeddedCastKernels, AreAnAlignedFatbin) {
  const auto image = embedded_cast_kernels();
  ASSERT_GT(image.size(), 16U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(image.data()) % 16, 0U);
  std::uint32_t magic = 0;
  std::memcpy(&magic, image.data(), sizeof(magic));
  EXPECT_EQ(magic, 0xBA55ED50U);
}

TEST(EmbeddedCastKernels, AreWholeByTheirOwnHeader) {
  const auto image = embedded_cast_kernels();
  std::uint16_t header_bytes = 0;
  std::uint64_t content_bytes = 0;
  ASSERT_GE(image.size(), 16U);
  std::memcpy(&header_bytes, image.data() + 6, sizeof(header_bytes));
  std::memcpy(&content_bytes, image.data() + 8, sizeof(content_bytes));
  EXPECT_EQ(image.size(), header_bytes + content_bytes);
}

TEST(EmbeddedCastKernels, HoldAKernelOfEachName) {
  const auto image = embedded_cast_kernels();
  const std::string_view text(reinterpret_cast<const char*>(image.data()), image.size());
  for (const DType source : kSources) {
    for (const DType destination : kDestinations) {
      // The zero keeps a name from being found as the beginning of another's; symbol tables end each one with it.
      std::string symbol = cast_kernel_name(source, destination);
      if (symbol.empty()) continue;
      symbol.push_back('\0');
      EXPECT_NE(text.find(symbol), std::string_view::npos) << symbol;
    }
  }
}

#else

TEST(EmbeddedCastKernels, AreEmptyInABuildWithoutNvcc) { EXPECT_TRUE(embedded_cast_kernels().empty()); }

#endif

}  // namespace
}  // namespace warpload
