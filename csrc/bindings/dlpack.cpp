#include "bindings/dlpack.hpp"

#include "interop/dlpack_abi.hpp"
#include "warpload/dlpack.hpp"

namespace warpload::bindings {
namespace {

void destroy(DLManagedTensor* tensor) {
  auto* abi = reinterpret_cast<dlpack_abi::ManagedTensor*>(tensor);
  abi->deleter(abi);
}

void destroy_capsule(PyObject* capsule) {
  // A consumer renames the capsule and takes the tensor over.
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;
  destroy(static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor")));
}

}  // namespace

bool travels_typed(DType dtype) noexcept {
  const bool unsigned_wide = dtype == DType::u16 || dtype == DType::u32 || dtype == DType::u64;
  return dlpack_has(dtype) && !unsigned_wide;
}

pybind11::capsule to_capsule(const Tensor& tensor) {
  DLManagedTensor* managed = travels_typed(tensor.dtype())
                                 ? to_dlpack(tensor)
                                 : to_dlpack(Tensor(tensor.name(), DType::u8, {tensor.nbytes()}, tensor.memory(),
                                                    tensor.nbytes(), tensor.device()));
  PyObject* capsule = PyCapsule_New(managed, "dltensor", destroy_capsule);
  if (capsule == nullptr) {
    destroy(managed);
    throw pybind11::error_already_set();
  }
  return pybind11::reinterpret_steal<pybind11::capsule>(capsule);
}

}  // namespace warpload::bindings
