// What a shape allows beyond its product: the steps between elements, by which other frameworks describe a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "warpload/dtype.hpp"

namespace warpload {

inline constexpr std::uint64_t kMaxExtent = std::numeric_limits<std::int64_t>::max();  // torch's sizes are signed

// Far beyond what frameworks work with (numpy ends at 64). A header of the largest size could have half
// a hundred million.
inline constexpr std::size_t kMaxAxes = 65'536;

// The product of the extents, in the order of the axes as the format's reference multiplies: nothing where it passes 64
// bits before it meets a 0.
[[nodiscard]] std::optional<std::uint64_t> element_count(std::span<const std::uint64_t> shape) noexcept;

// Row-major steps in elements along each axis, by torch's rule: an extent of 0 counts as 1, and what passes 64 bits
// wraps around. Nothing where an extent or a step is no std::int64_t then: torch refuses to make such a tensor. Both
// happen only to empty tensors, whose extents are bounded by no file.
[[nodiscard]] std::optional<std::vector<std::int64_t>> row_major_strides(std::span<const std::uint64_t> shape);

// Whether torch can describe a tensor of this shape. Of F4 it takes two elements for one.
[[nodiscard]] bool has_strides(DType dtype, std::span<const std::uint64_t> shape) noexcept;

}  // namespace warpload
