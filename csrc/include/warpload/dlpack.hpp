/// @file
/// Loaded tensors for other frameworks, without a copy.
#pragma once

#include "warpload/export.h"
#include "warpload/tensor.hpp"

// The standard's own structures. To look into them include its header, dlpack/dlpack.h, which this one does not need.
struct DLManagedTensor;
struct DLManagedTensorVersioned;

namespace warpload {

/// True when the structure without a version has a type code for the dtype that its readers know: all but the floating
/// point types of 8 bits and less.
[[nodiscard]] WARPLOAD_API bool dlpack_has(DType dtype) noexcept;

/// Exports the tensor as DLPack's structure of old, which every consumer reads.
///
/// Ownership: the caller's, to be ended by its `deleter`, on any thread; until then it keeps the tensor's memory.
/// Row-major; strides are given. The tensor has to be complete, and what its stream still does to it the consumer's to
/// wait for: after LoadHandle::get there is nothing left to wait for.
///
/// @throws InvalidArgumentError for a dtype that dlpack_has denies (to_dlpack_versioned has all), and for a shape
///         with an extent or a stride above 2^63 - 1, as an empty tensor's may have.
[[nodiscard]] WARPLOAD_API DLManagedTensor* to_dlpack(const Tensor& tensor);

/// Exports the tensor as DLPack's structure with a version (1.3), which has a code for every dtype. Types of less than
/// a byte are packed, as they are in memory. Otherwise like to_dlpack.
///
/// @throws InvalidArgumentError for such a shape.
[[nodiscard]] WARPLOAD_API DLManagedTensorVersioned* to_dlpack_versioned(const Tensor& tensor);

}  // namespace warpload
