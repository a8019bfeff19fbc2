// One tensor as the header of a file describes it, whatever the file's format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "warpload/block_type.hpp"
#include "warpload/dtype.hpp"
#include "warpload/error.hpp"

namespace warpload {

struct HeaderTensor {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::uint64_t> shape;
  ByteRange range;                  // absolute offsets in the file
  std::optional<BlockType> blocks;  // GGUF: of a quantised tensor, whose dtype and shape are those of its bytes
};

}  // namespace warpload
