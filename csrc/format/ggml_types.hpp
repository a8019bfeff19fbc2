// The types that a tensor of a GGUF file may have, by ggml's numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "warpload/block_type.hpp"
#include "warpload/dtype.hpp"

namespace warpload {

struct GgmlType {
  DType dtype = DType::u8;          // of the tensor: bytes, where it has blocks
  std::optional<BlockType> blocks;  // set for quantised types
};

// The type of that number; nothing where ggml has none, or has given it up.
[[nodiscard]] std::optional<GgmlType> find_ggml_type(std::uint32_t number) noexcept;

}  // namespace warpload
