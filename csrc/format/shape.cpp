#include "format/shape.hpp"

#include <algorithm>

namespace warpload {
namespace {

constexpr bool is_signed(std::uint64_t number) noexcept { return number <= kMaxExtent; }

// The next slower axis' step.
constexpr std::uint64_t next_step(std::uint64_t step, std::uint64_t extent) noexcept {
  return step * std::max<std::uint64_t>(extent, 1);
}

}  // namespace

std::optional<std::uint64_t> element_count(std::span<const std::uint64_t> shape) noexcept {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  }
  return count;
}

std::optional<std::vector<std::int64_t>> row_major_strides(std::span<const std::uint64_t> shape) {
  if (!has_strides(DType::u8, shape)) return std::nullopt;
  std::vector<std::int64_t> strides(shape.size());
  std::uint64_t step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = static_cast<std::int64_t>(step);
    step = next_step(step, shape[axis]);
  }
  return strides;
}

bool has_strides(DType dtype, std::span<const std::uint64_t> shape) noexcept {
  const std::uint64_t packed = dtype == DType::f4 ? 2 : 1;  // along the fastest axis
  std::uint64_t step = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const std::uint64_t extent = axis + 1 == shape.size() ? shape[axis] / packed : shape[axis];
    if (!is_signed(extent) || !is_signed(step)) return false;
    step = next_step(step, extent);
  }
  return true;
}

}  // namespace warpload
