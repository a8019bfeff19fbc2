// The sizes of blocks, one table for all. Constants only: files of every instruction set include this.
#pragma once

#include "warpload/block_type.hpp"

namespace warpload {

struct BlockProperties {
  BlockType type;
  const char* name;
  unsigned elements;
  unsigned bytes;
};

// As the gguf package's table has it, Q8_1 too (ggml's own blocks of it are smaller; no file holds any).
inline constexpr BlockProperties kBlockProperties[] = {
    // clang-format off: a row a type
    {BlockType::q4_0, "Q4_0", 32, 2 + 16},
    {BlockType::q4_1, "Q4_1", 32, 2 + 2 + 16},
    {BlockType::q5_0, "Q5_0", 32, 2 + 4 + 16},
    {BlockType::q5_1, "Q5_1", 32, 2 + 2 + 4 + 16},
    {BlockType::q8_0, "Q8_0", 32, 2 + 32},
    {BlockType::q8_1, "Q8_1", 32, 4 + 4 + 32},
    {BlockType::q2_k, "Q2_K", 256, 16 + 64 + 2 + 2},
    {BlockType::q3_k, "Q3_K", 256, 32 + 64 + 12 + 2},
    {BlockType::q4_k, "Q4_K", 256, 2 + 2 + 12 + 128},
    {BlockType::q5_k, "Q5_K", 256, 2 + 2 + 12 + 32 + 128},
    {BlockType::q6_k, "Q6_K", 256, 128 + 64 + 16 + 2},
    {BlockType::q8_k, "Q8_K", 256, 4 + 256 + 32},
    {BlockType::iq2_xxs, "IQ2_XXS", 256, 2 + 64},
    {BlockType::iq2_xs, "IQ2_XS", 256, 2 + 64 + 8},
    {BlockType::iq3_xxs, "IQ3_XXS", 256, 2 + 64 + 32},
    {BlockType::iq1_s, "IQ1_S", 256, 2 + 32 + 16},
    {BlockType::iq4_nl, "IQ4_NL", 32, 2 + 16},
    {BlockType::iq3_s, "IQ3_S", 256, 2 + 64 + 32 + 8 + 4},
    {BlockType::iq2_s, "IQ2_S", 256, 2 + 64 + 16},
    {BlockType::iq4_xs, "IQ4_XS", 256, 2 + 2 + 4 + 128},
    {BlockType::iq1_m, "IQ1_M", 256, 32 + 16 + 8},
    {BlockType::tq1_0, "TQ1_0", 256, 2 + 52},
    {BlockType::tq2_0, "TQ2_0", 256, 2 + 64},
    {BlockType::mxfp4, "MXFP4", 32, 1 + 16},
    {BlockType::nvfp4, "NVFP4", 64, 4 + 32},
    {BlockType::q1_0, "Q1_0", 128, 2 + 16},
    // clang-format on
};

// The row of a type. For constants: no code is made of it.
constexpr BlockProperties block_properties(BlockType type) {
  for (const BlockProperties& each : kBlockProperties) {
    if (each.type == type) return each;
  }
  throw "a type without a row";
}

}  // namespace warpload
