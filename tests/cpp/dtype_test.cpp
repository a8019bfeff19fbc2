#include "warpload/dtype.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace warpload {
namespace {

struct Expected {
  DType dtype;
  std::string_view name;
  unsigned bits;
  unsigned alignment;
  bool floating_point;
};

// Written out a second time on purpose: a slip in the table of dtype.cpp must not go unnoticed.
constexpr Expected kExpected[] = {
    {DType::boolean, "BOOL", 8, 1, false},
    {DType::f4, "F4", 4, 1, true},
    {DType::f6_e2m3, "F6_E2M3", 6, 1, true},
    {DType::f6_e3m2, "F6_E3M2", 6, 1, true},
    {DType::u8, "U8", 8, 1, false},
    {DType::i8, "I8", 8, 1, false},
    {DType::f8_e5m2, "F8_E5M2", 8, 1, true},
    {DType::f8_e4m3, "F8_E4M3", 8, 1, true},
    {DType::f8_e8m0, "F8_E8M0", 8, 1, true},
    {DType::f8_e4m3fnuz, "F8_E4M3FNUZ", 8, 1, true},
    {DType::f8_e5m2fnuz, "F8_E5M2FNUZ", 8, 1, true},
    {DType::i16, "I16", 16, 2, false},
    {DType::u16, "U16", 16, 2, false},
    {DType::f16, "F16", 16, 2, true},
    {DType::bf16, "BF16", 16, 2, true},
    {DType::i32, "I32", 32, 4, false},
    {DType::u32, "U32", 32, 4, false},
    {DType::f32, "F32", 32, 4, true},
    {DType::c64, "C64", 64, 4, false},
    {DType::f64, "F64", 64, 8, true},
    {DType::i64, "I64", 64, 8, false},
    {DType::u64, "U64", 64, 8, false},
};

TEST(DTypeTest, EveryTypeHasItsProperties) {
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(std::string(expected.name));
    EXPECT_EQ(dtype_name(expected.dtype), expected.name);
    EXPECT_EQ(dtype_bits(expected.dtype), expected.bits);
    EXPECT_EQ(dtype_alignment(expected.dtype), expected.alignment);
    EXPECT_EQ(is_floating_point(expected.dtype), expected.floating_point);
  }
}

TEST(DTypeTest, TheTableNamesEveryTypeOnce) {
  std::set<DType> seen;
  for (const Expected& expected : kExpected) seen.insert(expected.dtype);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kDTypeCount));
}

TEST(DTypeTest, NamesParseBackToTheirTypes) {
  for (const Expected& expected : kExpected) EXPECT_EQ(parse_dtype(expected.name), expected.dtype);
}

TEST(DTypeTest, OtherNamesAreRefused) {
  for (const std::string_view name : {"", "F", "f32", "F32 ", " F32", "F320", "F8", "FLOAT", "bfloat16", "BF16\n"}) {
    EXPECT_EQ(parse_dtype(name), std::nullopt) << name;
  }
  EXPECT_EQ(parse_dtype(std::string_view("F32\0", 4)), std::nullopt);
}

}  // namespace
}  // namespace warpload
