// The first bytes of a file, which tell its format: they are read once, whoever looks at them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "warpload/byte_source.hpp"

namespace warpload {

inline constexpr std::uint64_t kLengthBytes = 8;  // of the length that a safetensors file begins with

// Zeros follow where the file is shorter.
using FileStart = std::array<std::byte, kLengthBytes>;

[[nodiscard]] inline FileStart read_start(const ByteSource& source) {
  FileStart start{};
  const std::uint64_t size = std::min(source.size(), kLengthBytes);
  if (size != 0) source.read_exact(0, std::span(start).first(size));
  return start;
}

}  // namespace warpload
