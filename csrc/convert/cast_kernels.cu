// The casts of cast.hpp as CUDA kernels, with the same bits: cast_element.hpp is integer arithmetic, so that neither
// the GPU's canonical NaNs nor a flush of subnormal numbers to zero can make a difference.
//
// Every kernel is warpload_cast_<source>_<destination>(source, destination, count). The pointers need the alignment of
// their elements and no more, and do not overlap; any grid of one-dimensional blocks does the whole of `count`.
#include "convert/cast_element.hpp"
#include "warpload/dtype.hpp"

namespace warpload {
namespace {

// Neighbouring threads take neighbouring elements, so that the accesses of a warp coalesce.
template <DType kSource, DType kDestination>
__device__ void cast_array(const void* source, void* destination, unsigned long long count) {
  const auto* const from = static_cast<const elements::Bits<kSource>*>(source);
  auto* const to = static_cast<elements::Bits<kDestination>*>(destination);
  const unsigned long long first = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned long long stride = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  for (unsigned long long i = first; i < count; i += stride) {
    to[i] = elements::cast_element<kSource, kDestination>(from[i]);
  }
}

}  // namespace
}  // namespace warpload

#define WARPLOAD_CAST_KERNEL(source_type, destination_type)                                                            \
  extern "C" __global__ void warpload_cast_##source_type##_##destination_type(                                         \
      const void* __restrict__ source, void* __restrict__ destination, unsigned long long count) {                     \
    warpload::cast_array<warpload::DType::source_type, warpload::DType::destination_type>(source, destination, count); \
  }

WARPLOAD_CAST_KERNEL(f16, bf16)
WARPLOAD_CAST_KERNEL(f16, f32)
WARPLOAD_CAST_KERNEL(f16, f64)
WARPLOAD_CAST_KERNEL(bf16, f16)
WARPLOAD_CAST_KERNEL(bf16, f32)
WARPLOAD_CAST_KERNEL(bf16, f64)
WARPLOAD_CAST_KERNEL(f32, f16)
WARPLOAD_CAST_KERNEL(f32, bf16)
WARPLOAD_CAST_KERNEL(f32, f64)
WARPLOAD_CAST_KERNEL(f64, f16)
WARPLOAD_CAST_KERNEL(f64, bf16)
WARPLOAD_CAST_KERNEL(f64, f32)
WARPLOAD_CAST_KERNEL(f8_e4m3, f16)
WARPLOAD_CAST_KERNEL(f8_e4m3, bf16)
WARPLOAD_CAST_KERNEL(f8_e4m3, f32)
WARPLOAD_CAST_KERNEL(f8_e4m3, f64)
WARPLOAD_CAST_KERNEL(f8_e5m2, f16)
WARPLOAD_CAST_KERNEL(f8_e5m2, bf16)
WARPLOAD_CAST_KERNEL(f8_e5m2, f32)
WARPLOAD_CAST_KERNEL(f8_e5m2, f64)
