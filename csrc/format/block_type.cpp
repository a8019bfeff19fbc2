#include "warpload/block_type.hpp"

#include "format/block_table.hpp"
#include "format/ggml_types.hpp"

namespace warpload {
namespace {

const BlockProperties* find_properties(std::uint32_t number) noexcept {
  for (const BlockProperties& each : kBlockProperties) {
    if (static_cast<std::uint32_t>(each.type) == number) return &each;
  }
  return nullptr;
}

const BlockProperties& properties(BlockType type) noexcept {
  return *find_properties(static_cast<std::uint32_t>(type));
}

// The types whose numbers stand by themselves.
struct Plain {
  std::uint32_t number;
  DType dtype;
};

constexpr Plain kPlain[] = {{0, DType::f32},  {1, DType::f16},  {24, DType::i8},  {25, DType::i16},
                            {26, DType::i32}, {27, DType::i64}, {28, DType::f64}, {30, DType::bf16}};

}  // namespace

std::string_view block_type_name(BlockType type) noexcept { return properties(type).name; }

unsigned block_elements(BlockType type) noexcept { return properties(type).elements; }

unsigned block_bytes(BlockType type) noexcept { return properties(type).bytes; }

std::optional<GgmlType> find_ggml_type(std::uint32_t number) noexcept {
  for (const Plain& each : kPlain) {
    if (each.number == number) return GgmlType{each.dtype, std::nullopt};
  }
  if (const BlockProperties* found = find_properties(number)) return GgmlType{DType::u8, found->type};
  return std::nullopt;
}

}  // namespace warpload
