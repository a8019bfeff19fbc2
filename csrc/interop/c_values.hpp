// Values of the C interface and those of C++ that they stand for.
#pragma once

#include "warpload/checkpoint.hpp"
#include "warpload/device.hpp"
#include "warpload/dtype.hpp"
#include "warpload/warpload.h"

namespace warpload::c_interface {

// One more than the value in C++, so that zero can mean that nothing was asked for.
constexpr warpload_dtype to_c(DType dtype) noexcept { return static_cast<warpload_dtype>(dtype) + 1; }

constexpr bool is_dtype(warpload_dtype dtype) noexcept { return dtype > WARPLOAD_DTYPE_KEEP && dtype <= kDTypeCount; }

// Only where is_dtype.
constexpr DType from_c(warpload_dtype dtype) noexcept { return static_cast<DType>(dtype - 1); }

// Valid as long as `tensor`.
inline warpload_tensor_info view_of(const TensorInfo& tensor) noexcept {
  return {.name = tensor.name.c_str(),
          .name_bytes = tensor.name.size(),
          .shape = tensor.shape.data(),
          .ndim = tensor.shape.size(),
          .nbytes = tensor.range.size(),
          .dtype = to_c(tensor.dtype),
          .blocks = tensor.blocks ? block_type_name(*tensor.blocks).data() : nullptr};
}

}  // namespace warpload::c_interface
