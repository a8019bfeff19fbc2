// The fake CUDA driver is as hostile as it says (contexts, failures and journal): each test shows that a mistake would
// not go unseen.
#include "fakes/fake_cuda.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "cpp/support/fake_cuda_fixture.hpp"

namespace warpload::testing {
namespace {

class FakeCudaTest : public FakeCudaFixture {};

// ---- the driver and its contexts ------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, CallsBeforeInitialisationFail) {
  reset();
  int count = 0;
  ContextHandle context = nullptr;
  EXPECT_EQ(driver_->cuDeviceGetCount(&count), cuda::kNotInitialized);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRetain(&context, 0), cuda::kNotInitialized);
  EXPECT_EQ(driver_->cuCtxPopCurrent_v2(nullptr), cuda::kNotInitialized);
}

TEST_F(FakeCudaTest, DevicesAreAsManyAsAskedForAndHaveNames) {
  begin({.devices = 3});
  int count = 0;
  cuda::DeviceHandle device = 0;
  char name[64];
  EXPECT_EQ(driver_->cuDeviceGetCount(&count), cuda::kSuccess);
  EXPECT_EQ(count, 3);
  EXPECT_EQ(driver_->cuDeviceGet(&device, 2), cuda::kSuccess);
  EXPECT_EQ(driver_->cuDeviceGetName(name, sizeof name, device), cuda::kSuccess);
  EXPECT_STREQ(name, "Fake GPU 2");
  EXPECT_EQ(driver_->cuDeviceGet(&device, 3), cuda::kInvalidDevice);
}

TEST_F(FakeCudaTest, ContextOfOneThreadIsNotCurrentOnAnother) {
  cuda::Result result = cuda::kSuccess;
  std::size_t depth = 1;
  std::thread([&] {
    DevicePointer pointer = 0;
    result = driver_->cuMemAlloc_v2(&pointer, kSlot);
    depth = context_depth();
  }).join();
  EXPECT_EQ(result, cuda::kInvalidContext);
  EXPECT_EQ(depth, 0U);
  EXPECT_EQ(context_depth(), 1U);
}

TEST_F(FakeCudaTest, EveryCallThatNeedsAContextFailsWithoutOne) {
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuCtxPopCurrent_v2(nullptr), cuda::kSuccess);
  StreamHandle other = nullptr;
  ModuleHandle module = nullptr;
  std::size_t free = 0;
  EXPECT_EQ(driver_->cuMemGetInfo_v2(&free, &free), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuMemFree_v2(0), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuStreamCreate(&other, 0), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuStreamDestroy_v2(stream), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kInvalidContext);
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kInvalidContext);
}

TEST_F(FakeCudaTest, ContextEndsWithItsLastReferenceOnly) {
  ContextHandle again = nullptr;
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRetain(&again, 0), cuda::kSuccess);
  EXPECT_EQ(again, context_);
  EXPECT_EQ(live().context_references, 2U);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemFree_v2(allocate()), cuda::kSuccess);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kSuccess);
  DevicePointer pointer = 0;
  EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kInvalidContext);
  EXPECT_TRUE(live().nothing());
  EXPECT_TRUE(faults().empty());
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kInvalidContext);
  EXPECT_TRUE(only_fault_says("not retained"));
}

TEST_F(FakeCudaTest, EachThingLeftWhenTheContextEndsIsAFault) {
  auto slot = bytes_of(1);
  allocate();
  make_stream();
  make_event();
  kernel("warpload_cast_f32_f16");
  pin(slot);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kSuccess);
  EXPECT_EQ(faults().size(), 5U);
}

TEST_F(FakeCudaTest, WorkLeftWhenTheContextEndsIsAFaultEvenIfItsStreamIsDestroyed) {
  pause_streams();
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventDestroy_v2(event), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamDestroy_v2(stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kSuccess);
  EXPECT_TRUE(only_fault_says("1 operations that have not run"));
}

// ---- injected failures ----------------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, NthCallFailsWithoutEffectAndTheOthersDoNot) {
  fail_call("cuMemAlloc_v2", 2, cuda::kUnknown);
  DevicePointer pointer = 0;
  EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kUnknown);
  EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kSuccess);
  EXPECT_EQ(live().allocations, 2U);
}

TEST_F(FakeCudaTest, CallsFailFromTheNthOnWhenAskedTo) {
  fail_call("cuMemAlloc_v2", 2, cuda::kOutOfMemory, FailureSpan::kFromThenOn);
  DevicePointer pointer = 0;
  EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kSuccess);
  for (int call = 0; call < 3; ++call) EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, kSlot), cuda::kOutOfMemory);
}

TEST_F(FakeCudaTest, CopyThatFailsWhileItRunsBreaksItsContextForGoodAndNoOther) {
  fail_execution(2, cuda::kIllegalAddress);
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const DevicePointer pointer = allocate(3 * kSlot);
  pause_streams();
  for (unsigned char value = 0; value < 3; ++value) {
    EXPECT_EQ(copy(pointer + value * kSlot, bytes_of(value), stream), cuda::kSuccess);
  }
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
  resume_streams();
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kIllegalAddress);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(0));
  EXPECT_EQ(device_bytes(pointer + kSlot, 2 * kSlot), bytes_of(0xA5, 2 * kSlot));
  DevicePointer other = 0;
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kIllegalAddress);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kIllegalAddress);
  EXPECT_EQ(driver_->cuMemAlloc_v2(&other, kSlot), cuda::kIllegalAddress);
  enter(1);
  EXPECT_EQ(driver_->cuMemAlloc_v2(&other, kSlot), cuda::kSuccess);
}

TEST_F(FakeCudaTest, BrokenContextStillFreesWhatItHasAndSaysThatItIsBroken) {
  fail_execution(1, cuda::kLaunchFailed);
  auto slot = bytes_of(1);
  pin(slot);
  const StreamHandle stream = make_stream();
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, slot, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kLaunchFailed);
  EXPECT_EQ(driver_->cuMemHostUnregister(slot.data()), cuda::kLaunchFailed);
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kLaunchFailed);
  EXPECT_EQ(driver_->cuStreamDestroy_v2(stream), cuda::kLaunchFailed);
  EXPECT_EQ(driver_->cuDevicePrimaryCtxRelease_v2(0), cuda::kSuccess);
  EXPECT_TRUE(live().nothing());
  EXPECT_TRUE(faults().empty());
}

// ---- the journal and reset ------------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, JournalHasEveryCallWithItsThreadHandleAndBytes) {
  const StreamHandle stream = make_stream();
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, bytes_of(1), stream), cuda::kSuccess);
  const auto calls = journal();
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.front().name, "cuInit");
  EXPECT_EQ(calls.back().name, "cuMemcpyHtoDAsync_v2");
  EXPECT_EQ(calls.back().thread, std::this_thread::get_id());
  EXPECT_EQ(calls.back().handle, reinterpret_cast<std::uintptr_t>(stream));
  EXPECT_EQ(calls.back().bytes, kSlot);
  EXPECT_EQ(call_count("cuMemAlloc_v2"), 1U);
  EXPECT_EQ(call_count("cuMemFree_v2"), 0U);
}

TEST_F(FakeCudaTest, ResetDiscardsPausedWorkUnreadAndReleasesEverything) {
  pause_streams();
  {
    auto slot = bytes_of(1);
    pin(slot);
    EXPECT_EQ(copy(allocate(), slot, make_stream()), cuda::kSuccess);
  }  // the slot's memory is gone: whoever read it now would be caught
  EXPECT_EQ(driver_->cuMemFree_v2(1), cuda::kInvalidValue);
  fail_call("cuInit", 1, cuda::kUnknown);
  reset();
  EXPECT_TRUE(live().nothing());
  EXPECT_TRUE(faults().empty());
  EXPECT_TRUE(journal().empty());
  EXPECT_EQ(context_depth(), 0U);
  EXPECT_EQ(driver_->cuInit(0), cuda::kSuccess);
}

}  // namespace
}  // namespace warpload::testing
