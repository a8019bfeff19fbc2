#include "warpload/dlpack.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "interop/dlpack_abi.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

dlpack_abi::ManagedTensor& opened(DLManagedTensor* tensor) {
  return *reinterpret_cast<dlpack_abi::ManagedTensor*>(tensor);
}

dlpack_abi::ManagedTensorVersioned& opened(DLManagedTensorVersioned* tensor) {
  return *reinterpret_cast<dlpack_abi::ManagedTensorVersioned*>(tensor);
}

Tensor make_tensor(DType dtype, std::vector<std::uint64_t> shape, DeviceId device = {}) {
  std::uint64_t bits = dtype_bits(dtype);
  for (const std::uint64_t extent : shape) bits *= extent;
  std::shared_ptr<std::byte> memory(new std::byte[bits / 8], std::default_delete<std::byte[]>());
  return {"weight", dtype, std::move(shape), std::move(memory), bits / 8, device};
}

TEST(DlpackTest, StructuresAreLaidOutAsTheStandardSays) {
  using dlpack_abi::ManagedTensor;
  using dlpack_abi::ManagedTensorVersioned;
  using dlpack_abi::TensorView;
  EXPECT_EQ(sizeof(TensorView), 48U);
  EXPECT_EQ(offsetof(TensorView, device), 8U);
  EXPECT_EQ(offsetof(TensorView, ndim), 16U);
  EXPECT_EQ(offsetof(TensorView, dtype), 20U);
  EXPECT_EQ(offsetof(TensorView, shape), 24U);
  EXPECT_EQ(offsetof(TensorView, strides), 32U);
  EXPECT_EQ(offsetof(TensorView, byte_offset), 40U);
  EXPECT_EQ(sizeof(ManagedTensor), 64U);
  EXPECT_EQ(offsetof(ManagedTensor, manager_context), 48U);
  EXPECT_EQ(offsetof(ManagedTensor, deleter), 56U);
  EXPECT_EQ(sizeof(ManagedTensorVersioned), 80U);
  EXPECT_EQ(offsetof(ManagedTensorVersioned, manager_context), 8U);
  EXPECT_EQ(offsetof(ManagedTensorVersioned, deleter), 16U);
  EXPECT_EQ(offsetof(ManagedTensorVersioned, flags), 24U);
  EXPECT_EQ(offsetof(ManagedTensorVersioned, tensor), 32U);
}

TEST(DlpackTest, ExportDescribesTheTensorAndSharesItsMemory) {
  const Tensor tensor = make_tensor(DType::bf16, {2, 3, 5}, {DeviceKind::kCuda, 1});
  auto& managed = opened(to_dlpack(tensor));
  EXPECT_EQ(managed.tensor.data, tensor.data());
  EXPECT_EQ(managed.tensor.device.device_type, dlpack_abi::kCuda);
  EXPECT_EQ(managed.tensor.device.device_id, 1);
  ASSERT_EQ(managed.tensor.ndim, 3);
  EXPECT_EQ(managed.tensor.shape[0], 2);
  EXPECT_EQ(managed.tensor.shape[2], 5);
  EXPECT_EQ(std::vector<std::int64_t>(managed.tensor.strides, managed.tensor.strides + 3),
            (std::vector<std::int64_t>{15, 5, 1}));
  EXPECT_EQ(managed.tensor.byte_offset, 0U);
  EXPECT_EQ(managed.tensor.dtype.code, dlpack_abi::kBfloat);
  EXPECT_EQ(managed.tensor.dtype.bits, 16);
  EXPECT_EQ(managed.tensor.dtype.lanes, 1);
  managed.deleter(&managed);
}

TEST(DlpackTest, VersionedExportHasStridesAndItsVersion) {
  const Tensor tensor = make_tensor(DType::f32, {2, 3, 5});
  auto& managed = opened(to_dlpack_versioned(tensor));
  EXPECT_EQ(managed.version.major, 1U);
  EXPECT_EQ(managed.version.minor, 3U);
  EXPECT_EQ(managed.flags, 0U);
  EXPECT_EQ(managed.tensor.device.device_type, dlpack_abi::kCpu);
  EXPECT_EQ(std::vector<std::int64_t>(managed.tensor.strides, managed.tensor.strides + 3),
            (std::vector<std::int64_t>{15, 5, 1}));
  managed.deleter(&managed);
}

TEST(DlpackTest, ScalarsAndEmptyTensorsAreExported) {
  auto& scalar = opened(to_dlpack_versioned(make_tensor(DType::f32, {})));
  EXPECT_EQ(scalar.tensor.ndim, 0);
  scalar.deleter(&scalar);
  auto& empty = opened(to_dlpack_versioned(Tensor("empty", DType::f32, {0, 3}, nullptr, 0)));
  EXPECT_EQ(empty.tensor.data, nullptr);
  EXPECT_EQ(empty.tensor.shape[1], 3);
  empty.deleter(&empty);
}

template <class Managed>
std::vector<std::int64_t> taken_strides(Managed& managed) {
  std::vector<std::int64_t> strides(managed.tensor.strides, managed.tensor.strides + managed.tensor.ndim);
  managed.deleter(&managed);
  return strides;
}

TEST(DlpackTest, StridesOfAnEmptyTensorAreTorchsEvenWhereTheyWrapAround) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 32;
  const Tensor wide("wide", DType::f32, {0, kHuge, kHuge}, nullptr, 0);
  const std::vector<std::int64_t> expected{0, std::int64_t{1} << 32, 1};
  EXPECT_EQ(taken_strides(opened(to_dlpack(wide))), expected);
  EXPECT_EQ(taken_strides(opened(to_dlpack_versioned(wide))), expected);
}

TEST(DlpackTest, AShapeThatNoConsumerCanHoldIsRefusedByName) {
  for (const std::vector<std::uint64_t>& shape :
       {std::vector<std::uint64_t>{0, std::uint64_t{1} << 63}, {0, (std::uint64_t{1} << 63) - 1, 2}}) {
    const Tensor tensor("wide", DType::f32, shape, nullptr, 0);
    const auto typed = testing::catch_error<InvalidArgumentError>([&] { static_cast<void>(to_dlpack(tensor)); });
    EXPECT_EQ(typed.tensor(), "wide");
    EXPECT_THROW(static_cast<void>(to_dlpack_versioned(tensor)), InvalidArgumentError);
  }
}

TEST(DlpackTest, MemoryLivesUntilTheDeleterIsCalled) {
  std::weak_ptr<std::byte> memory;
  DLManagedTensor* exported = nullptr;
  DLManagedTensorVersioned* versioned = nullptr;
  {
    const Tensor tensor = make_tensor(DType::u8, {8});
    memory = tensor.memory();
    exported = to_dlpack(tensor);
    versioned = to_dlpack_versioned(tensor);
  }
  opened(exported).deleter(&opened(exported));
  EXPECT_FALSE(memory.expired());
  opened(versioned).deleter(&opened(versioned));
  EXPECT_TRUE(memory.expired());
}

TEST(DlpackTest, EveryDtypeHasItsCodeAndItsBits) {
  // The standard's numbers (DLDataTypeCode), by hand.
  const std::map<DType, std::pair<int, int>> expected{
      {DType::boolean, {6, 8}},      {DType::f4, {17, 4}},          {DType::f6_e2m3, {15, 6}},
      {DType::f6_e3m2, {16, 6}},     {DType::u8, {1, 8}},           {DType::i8, {0, 8}},
      {DType::f8_e5m2, {12, 8}},     {DType::f8_e4m3, {10, 8}},     {DType::f8_e8m0, {14, 8}},
      {DType::f8_e4m3fnuz, {11, 8}}, {DType::f8_e5m2fnuz, {13, 8}}, {DType::i16, {0, 16}},
      {DType::u16, {1, 16}},         {DType::f16, {2, 16}},         {DType::bf16, {4, 16}},
      {DType::i32, {0, 32}},         {DType::u32, {1, 32}},         {DType::f32, {2, 32}},
      {DType::c64, {5, 64}},         {DType::f64, {2, 64}},         {DType::i64, {0, 64}},
      {DType::u64, {1, 64}}};
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDTypeCount));
  for (const auto& [dtype, type] : expected) {
    auto& managed = opened(to_dlpack_versioned(make_tensor(dtype, {8})));
    EXPECT_EQ(managed.tensor.dtype.code, type.first) << dtype_name(dtype);
    EXPECT_EQ(managed.tensor.dtype.bits, type.second) << dtype_name(dtype);
    managed.deleter(&managed);
  }
}

TEST(DlpackTest, SmallFloatsNeedTheStructureWithAVersion) {
  EXPECT_TRUE(dlpack_has(DType::bf16));
  EXPECT_TRUE(dlpack_has(DType::u64));
  EXPECT_FALSE(dlpack_has(DType::f8_e4m3));
  const auto error = testing::catch_error<InvalidArgumentError>(
      [] { static_cast<void>(to_dlpack(make_tensor(DType::f8_e4m3, {8}))); });
  EXPECT_EQ(error.tensor(), "weight");
  EXPECT_NE(error.cure(), "");
}

}  // namespace
}  // namespace warpload
