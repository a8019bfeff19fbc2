#include "warpload/dlpack.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/shape.hpp"
#include "interop/dlpack_abi.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// What an exported tensor needs as long as its consumer does.
template <class Abi>
struct Managed {
  Abi abi{};
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::shared_ptr<std::byte> memory;
};

std::uint8_t type_code(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean:
      return dlpack_abi::kBool;
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
      return dlpack_abi::kInt;
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return dlpack_abi::kUInt;
    case DType::f16:
    case DType::f32:
    case DType::f64:
      return dlpack_abi::kFloat;
    case DType::bf16:
      return dlpack_abi::kBfloat;
    case DType::c64:
      return dlpack_abi::kComplex;
    case DType::f8_e4m3:
      return dlpack_abi::kFloat8E4m3fn;
    case DType::f8_e4m3fnuz:
      return dlpack_abi::kFloat8E4m3fnuz;
    case DType::f8_e5m2:
      return dlpack_abi::kFloat8E5m2;
    case DType::f8_e5m2fnuz:
      return dlpack_abi::kFloat8E5m2fnuz;
    case DType::f8_e8m0:
      return dlpack_abi::kFloat8E8m0fnu;
    case DType::f6_e2m3:
      return dlpack_abi::kFloat6E2m3fn;
    case DType::f6_e3m2:
      return dlpack_abi::kFloat6E3m2fn;
    case DType::f4:
      return dlpack_abi::kFloat4E2m1fn;
  }
  return dlpack_abi::kUInt;
}

// Always given, though readers of old would do without: torch then computes none of its own, which for an empty tensor
// may fail where it takes these.
std::vector<std::int64_t> strides_of(const Tensor& tensor) {
  std::optional<std::vector<std::int64_t>> strides = row_major_strides(tensor.shape());
  if (strides && strides->size() <= std::numeric_limits<std::int32_t>::max()) return *std::move(strides);
  throw InvalidArgumentError({.reason = "DLPack cannot describe its shape: there are more axes than 2^31 - 1, or an "
                                        "extent or stride is above 2^63 - 1",
                              .tensor = tensor.name()});
}

template <class Abi>
std::unique_ptr<Managed<Abi>> manage(const Tensor& tensor) {
  auto managed = std::make_unique<Managed<Abi>>();
  managed->strides = strides_of(tensor);
  managed->shape.assign(tensor.shape().begin(), tensor.shape().end());
  managed->memory = tensor.memory();
  const bool on_gpu = tensor.device().kind == DeviceKind::kCuda;
  managed->abi.tensor = {.data = tensor.data(),
                         .device = {on_gpu ? dlpack_abi::kCuda : dlpack_abi::kCpu, tensor.device().ordinal},
                         .ndim = static_cast<std::int32_t>(managed->shape.size()),
                         .dtype = {type_code(tensor.dtype()), static_cast<std::uint8_t>(dtype_bits(tensor.dtype())), 1},
                         .shape = managed->shape.data(),
                         .strides = managed->strides.data(),
                         .byte_offset = 0};
  managed->abi.manager_context = managed.get();
  managed->abi.deleter = [](Abi* self) { delete static_cast<Managed<Abi>*>(self->manager_context); };
  return managed;
}

}  // namespace

bool dlpack_has(DType dtype) noexcept { return !is_floating_point(dtype) || dtype_bits(dtype) > 8; }

DLManagedTensor* to_dlpack(const Tensor& tensor) {
  if (!dlpack_has(tensor.dtype())) {
    throw InvalidArgumentError(
        {.reason = "DLPack without a version has no code for " + std::string(dtype_name(tensor.dtype())),
         .tensor = tensor.name(),
         .cure = "export it with to_dlpack_versioned"});
  }
  return reinterpret_cast<DLManagedTensor*>(&manage<dlpack_abi::ManagedTensor>(tensor).release()->abi);
}

DLManagedTensorVersioned* to_dlpack_versioned(const Tensor& tensor) {
  auto managed = manage<dlpack_abi::ManagedTensorVersioned>(tensor);
  managed->abi.version = dlpack_abi::kVersion;
  return reinterpret_cast<DLManagedTensorVersioned*>(&managed.release()->abi);
}

}  // namespace warpload
