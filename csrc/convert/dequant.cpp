#include "convert/dequant.hpp"

#include "convert/dequant_tables.hpp"

namespace warpload {
namespace {

using namespace convert_internal;

const DequantTable& table_of(SimdLevel level) noexcept {
  switch (level) {
#if defined(__x86_64__)
    case SimdLevel::kAvx2:
      return avx2_dequant_table();
    case SimdLevel::kAvx512:
      return avx512_dequant_table();
#elif defined(__aarch64__)
    case SimdLevel::kNeon:
      return neon_dequant_table();
#endif
    default:
      return scalar_dequant_table();
  }
}

}  // namespace

CastFunction find_dequantization(BlockType type, DType destination, SimdLevel level) noexcept {
  for (std::size_t row = 0; row < kDequantTypeCount; ++row) {
    for (std::size_t column = 0; kDequantTypes[row] == type && column < kCastDestinationCount; ++column) {
      if (kCastDestinations[column] == destination) return table_of(level).rows[row].functions[column];
    }
  }
  return nullptr;
}

bool is_dequantization_supported(BlockType type, DType destination) noexcept {
  return find_dequantization(type, destination, SimdLevel::kScalar) != nullptr;
}

}  // namespace warpload
