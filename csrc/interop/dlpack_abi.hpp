// The structures of the DLPack ABI (dmlc/dlpack, include/dlpack/dlpack.h), laid out as the standard says. The public
// header only names them, so that it can stand beside the standard's own in one program; here they are in a namespace
// of ours and have another name.
#pragma once

#include <cstdint>

namespace warpload::dlpack_abi {

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

struct Device {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct TensorView {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row-major and contiguous, which readers before 1.2 admit
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  TensorView tensor;
  void* manager_context;
  void (*deleter)(ManagedTensor*);
};

struct ManagedTensorVersioned {
  Version version;
  void* manager_context;
  void (*deleter)(ManagedTensorVersioned*);
  std::uint64_t flags;
  TensorView tensor;
};

inline constexpr Version kVersion{1, 3};

inline constexpr std::int32_t kCpu = 1;
inline constexpr std::int32_t kCuda = 2;

inline constexpr std::uint8_t kInt = 0;
inline constexpr std::uint8_t kUInt = 1;
inline constexpr std::uint8_t kFloat = 2;
inline constexpr std::uint8_t kBfloat = 4;
inline constexpr std::uint8_t kComplex = 5;
inline constexpr std::uint8_t kBool = 6;
inline constexpr std::uint8_t kFloat8E4m3fn = 10;
inline constexpr std::uint8_t kFloat8E4m3fnuz = 11;
inline constexpr std::uint8_t kFloat8E5m2 = 12;
inline constexpr std::uint8_t kFloat8E5m2fnuz = 13;
inline constexpr std::uint8_t kFloat8E8m0fnu = 14;
inline constexpr std::uint8_t kFloat6E2m3fn = 15;
inline constexpr std::uint8_t kFloat6E3m2fn = 16;
inline constexpr std::uint8_t kFloat4E2m1fn = 17;

}  // namespace warpload::dlpack_abi
