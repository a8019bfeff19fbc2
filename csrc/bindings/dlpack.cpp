#include "bindings/dlpack.hpp"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace warpload::bindings {
namespace {

// The unversioned structures of the DLPack ABI (dmlc/dlpack, include/dlpack/dlpack.h), laid out as the
// standard says.
struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // null: row-major and contiguous
  std::uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

constexpr std::int32_t kDLCPU = 1;
constexpr std::int32_t kDLCUDA = 2;
enum Code : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBoolean = 6 };

struct Managed {
  DLManagedTensor abi{};
  std::vector<std::int64_t> shape;
  std::shared_ptr<std::byte> memory;
};

std::uint8_t type_code(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return kBoolean;
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
      return kInt;
    case DType::f16:
    case DType::f32:
    case DType::f64:
      return kFloat;
    case DType::bf16:
      return kBfloat;
    case DType::c64:
      return kComplex;
    default:
      return kUInt;
  }
}

void destroy_capsule(PyObject* capsule) {
  // A consumer renames the capsule and takes the tensor over.
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;
  auto* tensor = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  tensor->deleter(tensor);
}

}  // namespace

bool dlpack_has(DType dtype) noexcept {
  switch (dtype) {
    case DType::boolean:
    case DType::u8:
    case DType::i8:
    case DType::i16:
    case DType::f16:
    case DType::bf16:
    case DType::i32:
    case DType::f32:
    case DType::c64:
    case DType::f64:
    case DType::i64:
      return true;
    default:
      return false;
  }
}

pybind11::capsule to_dlpack(const Tensor& tensor) {
  auto managed = std::make_unique<Managed>();
  const bool typed = dlpack_has(tensor.dtype());
  if (typed) {
    managed->shape.assign(tensor.shape().begin(), tensor.shape().end());
  } else {
    managed->shape.push_back(static_cast<std::int64_t>(tensor.nbytes()));
  }
  managed->memory = tensor.memory();
  const auto bits = static_cast<std::uint8_t>(typed ? dtype_bits(tensor.dtype()) : 8);
  managed->abi.dl_tensor = {
      .data = tensor.data(),
      .device = {tensor.device().kind == DeviceKind::kCuda ? kDLCUDA : kDLCPU, tensor.device().ordinal},
      .ndim = static_cast<std::int32_t>(managed->shape.size()),
      .dtype = {typed ? type_code(tensor.dtype()) : std::uint8_t{kUInt}, bits, 1},
      .shape = managed->shape.data(),
      .strides = nullptr,
      .byte_offset = 0};
  managed->abi.manager_ctx = managed.get();
  managed->abi.deleter = [](DLManagedTensor* self) { delete static_cast<Managed*>(self->manager_ctx); };
  PyObject* capsule = PyCapsule_New(&managed->abi, "dltensor", destroy_capsule);
  if (capsule == nullptr) throw pybind11::error_already_set();
  managed.release();  // the capsule owns it now
  return pybind11::reinterpret_steal<pybind11::capsule>(capsule);
}

}  // namespace warpload::bindings
