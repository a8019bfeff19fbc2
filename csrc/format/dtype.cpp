#include "warpload/dtype.hpp"

#include <array>
#include <cstddef>

namespace warpload {
namespace {

struct Properties {
  std::string_view name;
  unsigned bits;
  unsigned alignment;
  bool floating_point;
};

// Indexed by DType, in the enumeration's order.
constexpr std::array<Properties, kDTypeCount> kProperties{{
    // clang-format off: a row a dtype
    {"BOOL", 8, 1, false},
    {"F4", 4, 1, true},
    {"F6_E2M3", 6, 1, true},
    {"F6_E3M2", 6, 1, true},
    {"U8", 8, 1, false},
    {"I8", 8, 1, false},
    {"F8_E5M2", 8, 1, true},
    {"F8_E4M3", 8, 1, true},
    {"F8_E8M0", 8, 1, true},
    {"F8_E4M3FNUZ", 8, 1, true},
    {"F8_E5M2FNUZ", 8, 1, true},
    {"I16", 16, 2, false},
    {"U16", 16, 2, false},
    {"F16", 16, 2, true},
    {"BF16", 16, 2, true},
    {"I32", 32, 4, false},
    {"U32", 32, 4, false},
    {"F32", 32, 4, true},
    {"C64", 64, 4, false},
    {"F64", 64, 8, true},
    {"I64", 64, 8, false},
    {"U64", 64, 8, false},
    // clang-format on
}};

constexpr const Properties& properties(DType dtype) noexcept { return kProperties[static_cast<std::size_t>(dtype)]; }

}  // namespace

unsigned dtype_bits(DType dtype) noexcept { return properties(dtype).bits; }

std::string_view dtype_name(DType dtype) noexcept { return properties(dtype).name; }

std::optional<DType> parse_dtype(std::string_view name) noexcept {
  for (std::size_t index = 0; index < kProperties.size(); ++index) {
    if (kProperties[index].name == name) return static_cast<DType>(index);
  }
  return std::nullopt;
}

bool is_floating_point(DType dtype) noexcept { return properties(dtype).floating_point; }

unsigned dtype_alignment(DType dtype) noexcept { return properties(dtype).alignment; }

}  // namespace warpload
