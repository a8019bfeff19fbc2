// Tensors handed over to Python by DLPack: one capsule a tensor, a storage of exactly its size, memory kept by a shared
// owner.
#pragma once

#include <pybind11/pybind11.h>

#include "warpload/tensor.hpp"

namespace warpload::bindings {

// True when torch takes the dtype from a capsule without a version. The others travel as flat bytes, to be viewed as
// what they are on the other side.
[[nodiscard]] bool travels_typed(DType dtype) noexcept;

// A "dltensor" capsule. Whoever consumes it may release the tensor on any thread, with or without the interpreter's
// lock.
[[nodiscard]] pybind11::capsule to_capsule(const Tensor& tensor);

}  // namespace warpload::bindings
