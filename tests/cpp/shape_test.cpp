#include "format/shape.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace warpload {
namespace {

using Shape = std::vector<std::uint64_t>;
using Strides = std::vector<std::int64_t>;

constexpr std::uint64_t power(unsigned exponent) { return std::uint64_t{1} << exponent; }

TEST(ShapeTest, StridesAreRowMajorAndAnExtentOfZeroCountsAsOne) {
  EXPECT_EQ(row_major_strides(Shape{}), Strides{});
  EXPECT_EQ(row_major_strides(Shape{7}), Strides{1});
  EXPECT_EQ(row_major_strides(Shape{2, 3, 5}), (Strides{15, 5, 1}));
  EXPECT_EQ(row_major_strides(Shape{2, 0, 5}), (Strides{5, 5, 1}));
  EXPECT_EQ(row_major_strides(Shape{0, kMaxExtent}), (Strides{kMaxExtent, 1}));
}

TEST(ShapeTest, StridesThatWrapAroundToASignedNumberAreTorchsOwn) {
  EXPECT_EQ(row_major_strides(Shape{0, power(32), power(32)}), (Strides{0, std::int64_t{1} << 32, 1}));
}

TEST(ShapeTest, NothingHasAnExtentOrAStrideThatIsNoSignedNumber) {
  for (const Shape& shape : {Shape{0, kMaxExtent, 2}, Shape{0, power(62), 2}, Shape{0, 2, power(62)},
                             Shape{0, power(63)}, Shape{power(63), 0}, Shape{0, UINT64_MAX}}) {
    EXPECT_EQ(row_major_strides(shape), std::nullopt);
    EXPECT_FALSE(has_strides(DType::f32, shape));
  }
}

TEST(ShapeTest, PairsOfPackedElementsHalveTheFastestAxis) {
  EXPECT_TRUE(has_strides(DType::f4, Shape{0, 2, power(62)}));
  EXPECT_TRUE(has_strides(DType::f4, Shape{0, power(63)}));
  EXPECT_FALSE(has_strides(DType::f4, Shape{0, power(31), power(33)}));
  EXPECT_FALSE(has_strides(DType::f4, Shape{power(63), 0}));
}

TEST(ShapeTest, ElementsAreCountedInTheOrderOfTheAxes) {
  EXPECT_EQ(element_count(Shape{}), 1U);
  EXPECT_EQ(element_count(Shape{2, 3}), 6U);
  EXPECT_EQ(element_count(Shape{0, power(63), power(63)}), 0U);
  EXPECT_EQ(element_count(Shape{power(32), power(32), 0}), std::nullopt);
}

}  // namespace
}  // namespace warpload
