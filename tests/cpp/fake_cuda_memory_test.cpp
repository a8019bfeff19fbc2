// The fake CUDA driver is as hostile as it says (memory and copies): each test shows that a mistake would not go
// unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "cpp/support/fake_cuda_fixture.hpp"
#include "fakes/fake_cuda.hpp"

namespace warpload::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class FakeCudaMemoryTest : public FakeCudaFixture {};

// ---- device memory --------------------------------------------------------------------------------------------------

TEST_F(FakeCudaMemoryTest, DevicePointerCrashesWhenTheProcessorTouchesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const DevicePointer pointer = allocate();
  EXPECT_DEATH(static_cast<void>(*reinterpret_cast<volatile char*>(pointer)), "");
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(pointer) = 1, "");
}

TEST_F(FakeCudaMemoryTest, NewMemoryIsGarbage) {
  const DevicePointer pointer = allocate(100);
  EXPECT_EQ(device_bytes(pointer, 100), bytes_of(0xA5, 100));
}

TEST_F(FakeCudaMemoryTest, FreeMemoryIsWhatAllocationsLeave) {
  begin({.device_bytes = 10 * kSlot});
  std::size_t free = 0;
  std::size_t total = 0;
  const DevicePointer first = allocate(6 * kSlot);
  EXPECT_EQ(driver_->cuMemGetInfo_v2(&free, &total), cuda::kSuccess);
  EXPECT_EQ(free, 4 * kSlot);
  EXPECT_EQ(total, 10 * kSlot);
  DevicePointer second = 0;
  EXPECT_EQ(driver_->cuMemAlloc_v2(&second, 4 * kSlot + 1), cuda::kOutOfMemory);
  EXPECT_EQ(driver_->cuMemFree_v2(first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemAlloc_v2(&second, 4 * kSlot + 1), cuda::kSuccess);
  EXPECT_EQ(live().peak_bytes, (std::vector<std::uint64_t>{6 * kSlot, 0}));
  EXPECT_EQ(live().allocated_bytes, 4 * kSlot + 1);
}

TEST_F(FakeCudaMemoryTest, MemoryOfOneDeviceIsNotTakenFromAnother) {
  allocate();
  enter(1);
  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(driver_->cuMemGetInfo_v2(&free, &total), cuda::kSuccess);
  EXPECT_EQ(free, total);
}

TEST_F(FakeCudaMemoryTest, DoubleFreeIsAFault) {
  const DevicePointer pointer = allocate();
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kSuccess);
  EXPECT_NE(allocate(), pointer);
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("freed before"));
}

TEST_F(FakeCudaMemoryTest, FreeOfAPointerInsideAnAllocationIsAFault) {
  EXPECT_EQ(driver_->cuMemFree_v2(allocate() + 1), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("no allocation begins here"));
}

TEST_F(FakeCudaMemoryTest, FreeOfMemoryThatQueuedWorkUsesIsAFault) {
  auto slot = bytes_of(1);
  pin(slot);
  pause_streams();
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, slot, nullptr), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("queued work"));
  resume_streams();
  EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kSuccess);
}

TEST_F(FakeCudaMemoryTest, CopyBeyondTheEndOfAnAllocationIsAFault) {
  const auto source = bytes_of(1);
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer + 1, source, nullptr), cuda::kInvalidValue);
  auto destination = bytes_of(0, 2 * kSlot);
  EXPECT_EQ(driver_->cuMemcpyDtoHAsync_v2(destination.data(), pointer, 2 * kSlot, nullptr), cuda::kInvalidValue);
  EXPECT_EQ(faults().size(), 2U);
  EXPECT_EQ(counters().copies_to_device, 0U);
}

TEST_F(FakeCudaMemoryTest, CopyToAnotherDevicesMemoryIsAFault) {
  const DevicePointer pointer = allocate();
  enter(1);
  EXPECT_EQ(copy(pointer, bytes_of(1), nullptr), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("another context"));
}

// ---- host memory and copies -----------------------------------------------------------------------------------------

#ifndef __SANITIZE_THREAD__
TEST_F(FakeCudaMemoryTest, SlotReusedBeforeTheCopyRanShowsAsWrongBytes) {
  begin({.delay = milliseconds(20)});
  auto slot = bytes_of(1);
  pin(slot);
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, slot, nullptr), cuda::kSuccess);
  std::fill(slot.begin(), slot.end(), std::byte{2});
  EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(2));
}
#else
TEST_F(FakeCudaMemoryTest, SlotReusedWithoutWaitingIsARaceEvenIfTheCopyHasRun) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto reuse_too_early = [this] {
    auto slot = bytes_of(1);
    pin(slot);
    const EventHandle event = make_event();
    EXPECT_EQ(copy(allocate(), slot, nullptr), cuda::kSuccess);
    EXPECT_EQ(driver_->cuEventRecord(event, nullptr), cuda::kSuccess);
    while (counters().executed == 0) std::this_thread::sleep_for(microseconds(50));  // orders nothing
    std::fill(slot.begin(), slot.end(), std::byte{2});
    std::exit(0);
  };
  EXPECT_EXIT(reuse_too_early(), ::testing::ExitedWithCode(66), "data race");
}
#endif

TEST_F(FakeCudaMemoryTest, SlotReusedAfterItsEventKeepsTheCopiedBytes) {
  auto slot = bytes_of(1);
  pin(slot);
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const DevicePointer pointer = allocate(2 * kSlot);
  EXPECT_EQ(copy(pointer, slot, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
  while (driver_->cuEventQuery(event) == cuda::kNotReady) std::this_thread::yield();
  std::fill(slot.begin(), slot.end(), std::byte{2});
  EXPECT_EQ(copy(pointer + kSlot, slot, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
  std::fill(slot.begin(), slot.end(), std::byte{3});
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(1));
  EXPECT_EQ(device_bytes(pointer + kSlot, kSlot), bytes_of(2));
  EXPECT_EQ(counters().pageable_copies, 0U);
  EXPECT_EQ(counters().bytes_to_device, 2 * kSlot);
}

TEST_F(FakeCudaMemoryTest, PageableSourceIsReadAtOnceAndCounted) {
  pause_streams();
  auto source = bytes_of(1);
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, source, nullptr), cuda::kSuccess);
  std::fill(source.begin(), source.end(), std::byte{2});
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(0xA5));
  resume_streams();
  EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(1));
  EXPECT_EQ(counters().pageable_copies, 1U);
}

TEST_F(FakeCudaMemoryTest, PageableDestinationIsFilledOnReturnAndPinnedOneIsNot) {
  begin({.delay = milliseconds(5)});
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, bytes_of(7), nullptr), cuda::kSuccess);
  auto pageable = bytes_of(0);
  EXPECT_EQ(driver_->cuMemcpyDtoHAsync_v2(pageable.data(), pointer, kSlot, nullptr), cuda::kSuccess);
  EXPECT_EQ(pageable, bytes_of(7));
  auto pinned = bytes_of(0);
  pin(pinned);
  pause_streams();
  EXPECT_EQ(driver_->cuMemcpyDtoHAsync_v2(pinned.data(), pointer, kSlot, nullptr), cuda::kSuccess);
  EXPECT_EQ(counters().executed, 2U);  // not the third; to look at the memory now would be a race
  resume_streams();
  EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kSuccess);
  EXPECT_EQ(pinned, bytes_of(7));
}

TEST_F(FakeCudaMemoryTest, OverlappingRegistrationFails) {
  auto slot = bytes_of(1, 2 * kSlot);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data(), kSlot + 1, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data() + kSlot, kSlot, 0), cuda::kHostMemoryAlreadyRegistered);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data() + kSlot + 1, kSlot - 1, 0), cuda::kSuccess);
  EXPECT_EQ(live().registered_bytes, 2 * kSlot);
  EXPECT_TRUE(faults().empty());
}

TEST_F(FakeCudaMemoryTest, RegistrationBeyondTheLimitIsOutOfMemory) {
  begin({.registered_limit = kSlot});
  auto first = bytes_of(1);
  auto second = bytes_of(2);
  pin(first);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(second.data(), 1, 0), cuda::kOutOfMemory);
  EXPECT_EQ(driver_->cuMemHostUnregister(first.data()), cuda::kSuccess);
  pin(second);
}

TEST_F(FakeCudaMemoryTest, UnregisteringWhatIsNotRegisteredIsAFault) {
  auto slot = bytes_of(1);
  EXPECT_EQ(driver_->cuMemHostUnregister(slot.data()), cuda::kHostMemoryNotRegistered);
  EXPECT_TRUE(only_fault_says("no registered range"));
}

TEST_F(FakeCudaMemoryTest, UnregisteringARangeThatQueuedCopiesReadIsAFault) {
  auto slot = bytes_of(1);
  pin(slot);
  pause_streams();
  EXPECT_EQ(copy(allocate(), slot, nullptr), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemHostUnregister(slot.data()), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("queued copies"));
  EXPECT_EQ(live().registered_ranges, 1U);
}

TEST_F(FakeCudaMemoryTest, CopyAcrossTheBorderOfARegisteredRangeIsAFault) {
  const auto slot = bytes_of(1);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(const_cast<std::byte*>(slot.data()), kSlot / 2, 0), cuda::kSuccess);
  EXPECT_EQ(copy(allocate(), slot, nullptr), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("border"));
}

}  // namespace
}  // namespace warpload::testing
