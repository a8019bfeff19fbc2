#include "convert/cast.hpp"

#include "convert/cast_tables.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace warpload {
namespace {

using convert_internal::CastTable;
using convert_internal::kCastDestinationCount;
using convert_internal::kCastDestinations;
using convert_internal::kCastSourceCount;
using convert_internal::kCastSources;

// The position of `dtype` in `dtypes`, or `count` when it isn't there.
std::size_t index_of(DType dtype, const DType* dtypes, std::size_t count) noexcept {
  std::size_t index = 0;
  while (index < count && dtypes[index] != dtype) ++index;
  return index;
}

#if defined(__x86_64__)

// __builtin_cpu_supports does not know F16C in every compiler that we support.
bool has_f16c() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// __builtin_cpu_supports says yes only when the operating system also saves the registers of
// the instructions.
SimdLevel detect_best_level() noexcept {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && has_f16c();
  if (!avx2) return SimdLevel::kScalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  return avx512 ? SimdLevel::kAvx512 : SimdLevel::kAvx2;
}

#elif defined(__aarch64__)

SimdLevel detect_best_level() noexcept { return SimdLevel::kNeon; }

#else

SimdLevel detect_best_level() noexcept { return SimdLevel::kScalar; }

#endif

const CastTable& table_of(SimdLevel level) noexcept {
  switch (level) {
#if defined(__x86_64__)
    case SimdLevel::kAvx2:
      return convert_internal::avx2_cast_table();
    case SimdLevel::kAvx512:
      return convert_internal::avx512_cast_table();
#elif defined(__aarch64__)
    case SimdLevel::kNeon:
      return convert_internal::neon_cast_table();
#endif
    default:
      return convert_internal::scalar_cast_table();
  }
}

}  // namespace

SimdLevel best_simd_level() noexcept {
  static const SimdLevel kBest = detect_best_level();
  return kBest;
}

CastFunction find_cast(DType source, DType destination, SimdLevel level) noexcept {
  const std::size_t source_index = index_of(source, kCastSources, kCastSourceCount);
  const std::size_t destination_index = index_of(destination, kCastDestinations, kCastDestinationCount);
  if (source_index == kCastSourceCount || destination_index == kCastDestinationCount) return nullptr;
  return table_of(level).rows[source_index].functions[destination_index];
}

bool is_cast_supported(DType source, DType destination) noexcept {
  return find_cast(source, destination, SimdLevel::kScalar) != nullptr;
}

}  // namespace warpload
