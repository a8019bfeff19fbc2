#include "bindings/dlpack_capsule.hpp"

#include "interop/dlpack_offer.hpp"
#include "warpload/dlpack.hpp"

namespace warpload::bindings {
namespace {

constexpr const char* kUntaken = "dltensor";  // who takes the tensor over renames the capsule

void destroy_capsule(PyObject* capsule) {
  auto* const offer = static_cast<DlpackOffer*>(PyCapsule_GetContext(capsule));
  if (offer != nullptr) offer->end_capsule(PyCapsule_IsValid(capsule, kUntaken) == 0);
}

}  // namespace

bool travels_typed(DType dtype) noexcept {
  const bool unsigned_wide = dtype == DType::u16 || dtype == DType::u32 || dtype == DType::u64;
  return dlpack_has(dtype) && !unsigned_wide;
}

pybind11::capsule to_capsule(const Tensor& tensor) {
  DlpackOffer::Ptr offer =
      DlpackOffer::make(travels_typed(tensor.dtype()) ? tensor
                                                      : Tensor(tensor.name(), DType::u8, {tensor.nbytes()},
                                                               tensor.memory(), tensor.nbytes(), tensor.device()));
  const auto capsule =
      pybind11::reinterpret_steal<pybind11::capsule>(PyCapsule_New(&offer->tensor(), kUntaken, destroy_capsule));
  if (!capsule || PyCapsule_SetContext(capsule.ptr(), offer.get()) != 0) throw pybind11::error_already_set();
  static_cast<void>(offer.release());  // the capsule's from here on
  return capsule;
}

}  // namespace warpload::bindings
