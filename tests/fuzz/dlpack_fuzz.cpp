// Shapes of empty tensors on their way out: described as torch does, or refused.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "format/shape.hpp"
#include "fuzz/support.hpp"
#include "interop/dlpack_abi.hpp"
#include "interop/dlpack_offer.hpp"
#include "warpload/dlpack.hpp"

namespace {

using warpload::DType;
using warpload::fuzz::Choices;
using warpload::fuzz::require;

using Shape = std::vector<std::uint64_t>;

// Each step as a product of its own, cut to 64 bits.
bool is_described(const Shape& shape, const std::int64_t* strides) {
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    std::uint64_t step = 1;
    for (std::size_t inner = axis + 1; inner < shape.size(); ++inner) {
      step *= shape[inner] == 0 ? 1 : shape[inner];
    }
    if (strides[axis] < 0 || static_cast<std::uint64_t>(strides[axis]) != step) return false;
  }
  return true;
}

template <class Managed>
void check(const Shape& shape, Managed& managed) {
  require(managed.tensor.ndim == static_cast<std::int32_t>(shape.size()));
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    require(managed.tensor.shape[axis] >= 0 && static_cast<std::uint64_t>(managed.tensor.shape[axis]) == shape[axis]);
  }
  require(is_described(shape, managed.tensor.strides));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices choices({data, size});
  const bool by_capsule = choices.below(2) == 1;
  const bool taken = choices.below(2) == 1;
  Shape shape;
  while (!choices.over() && shape.size() < 80) shape.push_back(choices.number());
  const warpload::Tensor tensor("w", DType::f32, shape, nullptr, 0);
  try {
    if (by_capsule) {
      warpload::DlpackOffer* const offer = warpload::DlpackOffer::make(tensor).release();
      check(shape, offer->tensor());
      if (taken) offer->tensor().deleter(&offer->tensor());
      offer->end_capsule(false);
    } else {
      auto* exported = warpload::to_dlpack_versioned(tensor);
      auto& managed = *reinterpret_cast<warpload::dlpack_abi::ManagedTensorVersioned*>(exported);
      check(shape, managed);
      managed.deleter(&managed);
    }
    require(warpload::has_strides(DType::f32, shape));
  } catch (const warpload::InvalidArgumentError& error) {
    require(error.tensor() == "w" && !warpload::has_strides(DType::f32, shape));
  }
  return 0;
}
