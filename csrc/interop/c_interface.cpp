// The functions of the C interface that need no handle.
#include "interop/c_values.hpp"
#include "warpload/version.h"

namespace warpload::c_interface {
namespace {

#define WARPLOAD_SAME_DTYPE(c, cpp) \
  static_assert(to_c(DType::cpp) == WARPLOAD_DTYPE_##c && from_c(WARPLOAD_DTYPE_##c) == DType::cpp)
WARPLOAD_SAME_DTYPE(BOOL, boolean);
WARPLOAD_SAME_DTYPE(F4, f4);
WARPLOAD_SAME_DTYPE(F6_E2M3, f6_e2m3);
WARPLOAD_SAME_DTYPE(F6_E3M2, f6_e3m2);
WARPLOAD_SAME_DTYPE(U8, u8);
WARPLOAD_SAME_DTYPE(I8, i8);
WARPLOAD_SAME_DTYPE(F8_E5M2, f8_e5m2);
WARPLOAD_SAME_DTYPE(F8_E4M3, f8_e4m3);
WARPLOAD_SAME_DTYPE(F8_E8M0, f8_e8m0);
WARPLOAD_SAME_DTYPE(F8_E4M3FNUZ, f8_e4m3fnuz);
WARPLOAD_SAME_DTYPE(F8_E5M2FNUZ, f8_e5m2fnuz);
WARPLOAD_SAME_DTYPE(I16, i16);
WARPLOAD_SAME_DTYPE(U16, u16);
WARPLOAD_SAME_DTYPE(F16, f16);
WARPLOAD_SAME_DTYPE(BF16, bf16);
WARPLOAD_SAME_DTYPE(I32, i32);
WARPLOAD_SAME_DTYPE(U32, u32);
WARPLOAD_SAME_DTYPE(F32, f32);
WARPLOAD_SAME_DTYPE(C64, c64);
WARPLOAD_SAME_DTYPE(F64, f64);
WARPLOAD_SAME_DTYPE(I64, i64);
WARPLOAD_SAME_DTYPE(U64, u64);
#undef WARPLOAD_SAME_DTYPE
static_assert(WARPLOAD_DTYPE_U64 == kDTypeCount);

}  // namespace
}  // namespace warpload::c_interface

using namespace warpload::c_interface;

const char* warpload_version() { return WARPLOAD_VERSION; }

int32_t warpload_abi_version() { return WARPLOAD_ABI_VERSION; }

const char* warpload_dtype_name(warpload_dtype dtype) {
  if (!is_dtype(dtype)) return nullptr;
  return warpload::dtype_name(from_c(dtype)).data();  // of a literal, which ends with a zero byte
}

uint32_t warpload_dtype_bits(warpload_dtype dtype) { return is_dtype(dtype) ? warpload::dtype_bits(from_c(dtype)) : 0; }
