/// @file
/// DLPack: loaded tensors for other frameworks, without a copy.
#pragma once

#include "warpload/export.h"
#include "warpload/tensor.hpp"

// The standard's own structures. To look into them include its header, dlpack/dlpack.h, which this one does not need.
struct DLManagedTensor;
struct DLManagedTensorVersioned;

namespace warpload {

/// True when DLPack's structure without a version has a type code for the dtype: for all dtypes but the floating-point
/// types of 8 bits and less.
[[nodiscard]] WARPLOAD_API bool dlpack_has(DType dtype) noexcept;

/// Exports the tensor as DLPack's structure without a version, which every consumer reads. The tensor is row-major; its
/// strides are given.
///
/// The bytes have to be in place: they are after LoadHandle::get. An earlier export leaves it to the caller to wait
/// for them.
///
/// Ownership: the export is the caller's and keeps the tensor's memory until its `deleter` is called, on any thread.
///
/// @throws InvalidArgumentError for a dtype that dlpack_has denies (to_dlpack_versioned takes all), and for a shape
///         with an extent or a stride above 2^63 - 1, as an empty tensor's may have.
[[nodiscard]] WARPLOAD_API DLManagedTensor* to_dlpack(const Tensor& tensor);

/// Exports the tensor as DLPack's structure with a version (1.3), which has a type code for every dtype. The tensor is
/// row-major; its strides are given. Types of less than a byte are packed, as they are in memory.
///
/// The bytes have to be in place: they are after LoadHandle::get. An earlier export leaves it to the caller to wait
/// for them.
///
/// Ownership: the export is the caller's and keeps the tensor's memory until its `deleter` is called, on any thread.
///
/// @throws InvalidArgumentError for a shape with an extent or a stride above 2^63 - 1, as an empty tensor's may have.
[[nodiscard]] WARPLOAD_API DLManagedTensorVersioned* to_dlpack_versioned(const Tensor& tensor);

}  // namespace warpload
