// The fake CUDA driver is as hostile as it says: each test shows that a mistake would not go unseen.
#include "fakes/fake_cuda.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "device/cuda/driver.hpp"

namespace warpload::testing {
namespace {

using cuda::ContextHandle;
using cuda::DevicePointer;
using cuda::EventHandle;
using cuda::FunctionHandle;
using cuda::ModuleHandle;
using cuda::StreamHandle;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kSlot = 4096;

std::vector<std::byte> bytes_of(unsigned char value, std::size_t count = kSlot) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

// A fresh driver with device 0's context current; helpers that expect success.
class FakeCudaTest : public ::testing::Test {
 protected:
  void SetUp() override { begin({}); }
  void TearDown() override { reset(); }

  void begin(const FakeOptions& options) {
    reset(options);
    driver_ = cuda::Driver::open(WARPLOAD_FAKE_CUDA_LIBRARY);
    context_ = enter(0);
  }

  ContextHandle enter(int device) {
    ContextHandle context = nullptr;
    EXPECT_EQ(driver_->cuDevicePrimaryCtxRetain(&context, device), cuda::kSuccess);
    EXPECT_EQ(driver_->cuCtxPushCurrent_v2(context), cuda::kSuccess);
    return context;
  }

  DevicePointer allocate(std::size_t bytes = kSlot) {
    DevicePointer pointer = 0;
    EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, bytes), cuda::kSuccess);
    return pointer;
  }

  StreamHandle make_stream() {
    StreamHandle stream = nullptr;
    EXPECT_EQ(driver_->cuStreamCreate(&stream, cuda::kStreamNonBlocking), cuda::kSuccess);
    return stream;
  }

  EventHandle make_event() {
    EventHandle event = nullptr;
    EXPECT_EQ(driver_->cuEventCreate(&event, cuda::kEventDisableTiming), cuda::kSuccess);
    return event;
  }

  void pin(std::vector<std::byte>& slot) {
    EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data(), slot.size(), cuda::kHostRegisterPortable), cuda::kSuccess);
  }

  cuda::Result copy(DevicePointer destination, const std::vector<std::byte>& source, StreamHandle stream) {
    return driver_->cuMemcpyHtoDAsync_v2(destination, source.data(), source.size(), stream);
  }

  FunctionHandle kernel(const char* name) {
    ModuleHandle module = nullptr;
    FunctionHandle function = nullptr;
    EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kSuccess);
    EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, name), cuda::kSuccess);
    return function;
  }

  cuda::Result launch(FunctionHandle function, DevicePointer source, DevicePointer destination,
                      unsigned long long count, unsigned grid = 3, unsigned block = 32, StreamHandle stream = nullptr) {
    void* parameters[] = {&source, &destination, &count};
    return driver_->cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, parameters, nullptr);
  }

  // True when exactly one fault was noted and `text` is in it.
  static bool only_fault_says(const std::string& text) {
    const auto all = faults();
    return all.size() == 1 && all[0].find(text) != std::string::npos;
  }

  std::shared_ptr<const cuda::Driver> driver_;
  ContextHandle context_ = nullptr;
};

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

// ---- device memory --------------------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, DevicePointerCrashesWhenTheProcessorTouchesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const DevicePointer pointer = allocate();
  EXPECT_DEATH(static_cast<void>(*reinterpret_cast<volatile char*>(pointer)), "");
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(pointer) = 1, "");
}

TEST_F(FakeCudaTest, NewMemoryIsGarbage) {
  const DevicePointer pointer = allocate(100);
  EXPECT_EQ(device_bytes(pointer, 100), bytes_of(0xA5, 100));
}

TEST_F(FakeCudaTest, FreeMemoryIsWhatAllocationsLeave) {
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

TEST_F(FakeCudaTest, MemoryOfOneDeviceIsNotTakenFromAnother) {
  allocate();
  enter(1);
  std::size_t free = 0;
  std::size_t total = 0;
  EXPECT_EQ(driver_->cuMemGetInfo_v2(&free, &total), cuda::kSuccess);
  EXPECT_EQ(free, total);
}

TEST_F(FakeCudaTest, DoubleFreeIsAFault) {
  const DevicePointer pointer = allocate();
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kSuccess);
  EXPECT_NE(allocate(), pointer);
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("freed before"));
}

TEST_F(FakeCudaTest, FreeOfAPointerInsideAnAllocationIsAFault) {
  EXPECT_EQ(driver_->cuMemFree_v2(allocate() + 1), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("no allocation begins here"));
}

TEST_F(FakeCudaTest, FreeOfMemoryThatQueuedWorkUsesIsAFault) {
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

TEST_F(FakeCudaTest, CopyBeyondTheEndOfAnAllocationIsAFault) {
  const auto source = bytes_of(1);
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer + 1, source, nullptr), cuda::kInvalidValue);
  auto destination = bytes_of(0, 2 * kSlot);
  EXPECT_EQ(driver_->cuMemcpyDtoHAsync_v2(destination.data(), pointer, 2 * kSlot, nullptr), cuda::kInvalidValue);
  EXPECT_EQ(faults().size(), 2U);
  EXPECT_EQ(counters().copies_to_device, 0U);
}

TEST_F(FakeCudaTest, CopyToAnotherDevicesMemoryIsAFault) {
  const DevicePointer pointer = allocate();
  enter(1);
  EXPECT_EQ(copy(pointer, bytes_of(1), nullptr), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("another context"));
}

// ---- host memory and copies -----------------------------------------------------------------------------------------

#ifndef __SANITIZE_THREAD__
TEST_F(FakeCudaTest, SlotReusedBeforeTheCopyRanShowsAsWrongBytes) {
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
TEST_F(FakeCudaTest, SlotReusedWithoutWaitingIsARaceEvenIfTheCopyHasRun) {
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

TEST_F(FakeCudaTest, SlotReusedAfterItsEventKeepsTheCopiedBytes) {
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

TEST_F(FakeCudaTest, PageableSourceIsReadAtOnceAndCounted) {
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

TEST_F(FakeCudaTest, PageableDestinationIsFilledOnReturnAndPinnedOneIsNot) {
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

TEST_F(FakeCudaTest, OverlappingRegistrationFails) {
  auto slot = bytes_of(1, 2 * kSlot);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data(), kSlot + 1, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data() + kSlot, kSlot, 0), cuda::kHostMemoryAlreadyRegistered);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data() + kSlot + 1, kSlot - 1, 0), cuda::kSuccess);
  EXPECT_EQ(live().registered_bytes, 2 * kSlot);
  EXPECT_TRUE(faults().empty());
}

TEST_F(FakeCudaTest, RegistrationBeyondTheLimitIsOutOfMemory) {
  begin({.registered_limit = kSlot});
  auto first = bytes_of(1);
  auto second = bytes_of(2);
  pin(first);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(second.data(), 1, 0), cuda::kOutOfMemory);
  EXPECT_EQ(driver_->cuMemHostUnregister(first.data()), cuda::kSuccess);
  pin(second);
}

TEST_F(FakeCudaTest, UnregisteringWhatIsNotRegisteredIsAFault) {
  auto slot = bytes_of(1);
  EXPECT_EQ(driver_->cuMemHostUnregister(slot.data()), cuda::kHostMemoryNotRegistered);
  EXPECT_TRUE(only_fault_says("no registered range"));
}

TEST_F(FakeCudaTest, UnregisteringARangeThatQueuedCopiesReadIsAFault) {
  auto slot = bytes_of(1);
  pin(slot);
  pause_streams();
  EXPECT_EQ(copy(allocate(), slot, nullptr), cuda::kSuccess);
  EXPECT_EQ(driver_->cuMemHostUnregister(slot.data()), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("queued copies"));
  EXPECT_EQ(live().registered_ranges, 1U);
}

TEST_F(FakeCudaTest, CopyAcrossTheBorderOfARegisteredRangeIsAFault) {
  const auto slot = bytes_of(1);
  EXPECT_EQ(driver_->cuMemHostRegister_v2(const_cast<std::byte*>(slot.data()), kSlot / 2, 0), cuda::kSuccess);
  EXPECT_EQ(copy(allocate(), slot, nullptr), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("border"));
}

// ---- streams and events ---------------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, NothingRunsWhileStreamsArePaused) {
  begin({.delay = microseconds(0)});
  pause_streams();
  const DevicePointer pointer = allocate();
  const EventHandle event = make_event();
  EXPECT_EQ(copy(pointer, bytes_of(1), nullptr), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, nullptr), cuda::kSuccess);
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kNotReady);
  EXPECT_EQ(counters().executed, 0U);
  resume_streams();
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(1));
}

TEST_F(FakeCudaTest, StreamRunsItsWorkInOrder) {
  const StreamHandle stream = make_stream();
  const DevicePointer pointer = allocate();
  for (unsigned char value = 0; value < 20; ++value) EXPECT_EQ(copy(pointer, bytes_of(value), stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(19));
  EXPECT_EQ(counters().executed, 20U);
}

TEST_F(FakeCudaTest, EventThatWasNeverRecordedIsComplete) {
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kSuccess);
  const StreamHandle stream = make_stream();
  EXPECT_EQ(driver_->cuStreamWaitEvent(stream, event, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
}

TEST_F(FakeCudaTest, StreamWaitsForTheRecordingThatWasLatestAtTheCallThoughTheEventIsDestroyed) {
  const StreamHandle first = make_stream();
  const StreamHandle second = make_stream();
  const EventHandle event = make_event();
  const DevicePointer pointer = allocate();
  pause_streams();
  EXPECT_EQ(copy(pointer, bytes_of(1), first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(second, event, 0), cuda::kSuccess);
  EXPECT_EQ(copy(pointer, bytes_of(2), second), cuda::kSuccess);
  // A later recording, behind a wait for the second stream, would deadlock it if the wait followed the event itself.
  const EventHandle other = make_event();
  EXPECT_EQ(driver_->cuEventRecord(other, second), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(first, other, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventDestroy_v2(event), cuda::kSuccess);
  resume_streams();
  EXPECT_EQ(driver_->cuStreamSynchronize(first), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(2));
  EXPECT_TRUE(faults().empty());
}

TEST_F(FakeCudaTest, DestroyedStreamFinishesItsWork) {
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const DevicePointer pointer = allocate();
  EXPECT_EQ(copy(pointer, bytes_of(3), stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamDestroy_v2(stream), cuda::kSuccess);
  EXPECT_EQ(live().streams, 0U);
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(3));
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kInvalidHandle);
  EXPECT_TRUE(only_fault_says("no such stream"));
}

TEST_F(FakeCudaTest, StreamOfAnotherContextIsAFault) {
  const StreamHandle stream = make_stream();
  enter(1);
  EXPECT_EQ(copy(allocate(), bytes_of(1), stream), cuda::kInvalidHandle);
  EXPECT_TRUE(only_fault_says("not of the current context"));
}

TEST_F(FakeCudaTest, DestroyedEventIsAFaultWhenUsed) {
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventDestroy_v2(event), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kInvalidHandle);
  EXPECT_TRUE(only_fault_says("no such event"));
}

TEST_F(FakeCudaTest, ThreadsThatShareSlotsByEventsLeaveNoFault) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  const DevicePointer pointer = allocate(kThreads * kSlot);
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int index = 0; index < kThreads; ++index) {
    threads.emplace_back([&, index] {
      failures += driver_->cuCtxPushCurrent_v2(context_);
      const StreamHandle stream = make_stream();
      const EventHandle event = make_event();
      auto slot = bytes_of(0);
      pin(slot);
      for (int round = 0; round < kRounds; ++round) {
        failures += driver_->cuEventSynchronize(event);
        std::fill(slot.begin(), slot.end(), static_cast<std::byte>(100 * index + round));
        failures += copy(pointer + static_cast<std::size_t>(index) * kSlot, slot, stream);
        failures += driver_->cuEventRecord(event, stream);
      }
      failures += driver_->cuStreamSynchronize(stream);
      failures += driver_->cuMemHostUnregister(slot.data());
      failures += driver_->cuEventDestroy_v2(event);
      failures += driver_->cuStreamDestroy_v2(stream);
      failures += driver_->cuCtxPopCurrent_v2(nullptr);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  for (int index = 0; index < kThreads; ++index) {
    const auto expected = static_cast<unsigned char>(100 * index + kRounds - 1);
    EXPECT_EQ(device_bytes(pointer + static_cast<std::size_t>(index) * kSlot, kSlot), bytes_of(expected));
  }
  EXPECT_TRUE(faults().empty());
}

// ---- kernels --------------------------------------------------------------------------------------------------------

TEST_F(FakeCudaTest, KernelCastsEveryElementWhateverItsGrid) {
  const std::vector<float> values{1.5F, -2.0F, 65504.0F, 0.0F, 0.1F};
  const FunctionHandle function = kernel("warpload_cast_f32_bf16");
  for (const unsigned grid : {1U, 7U}) {
    const DevicePointer source = allocate(values.size() * 4);
    const DevicePointer destination = allocate(values.size() * 2);
    EXPECT_EQ(driver_->cuMemcpyHtoDAsync_v2(source, values.data(), values.size() * 4, nullptr), cuda::kSuccess);
    EXPECT_EQ(launch(function, source, destination, values.size(), grid, 2), cuda::kSuccess);
    EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kSuccess);
    const auto bytes = device_bytes(destination, values.size() * 2);
    std::vector<std::uint16_t> halves(values.size());
    std::memcpy(halves.data(), bytes.data(), bytes.size());
    EXPECT_EQ(halves, (std::vector<std::uint16_t>{0x3FC0, 0xC000, 0x4780, 0x0000, 0x3DCD}));
  }
  EXPECT_TRUE(faults().empty());
}

TEST_F(FakeCudaTest, ModuleHasTheCastsThatTheCoreHasAndNoOther) {
  ModuleHandle module = nullptr;
  FunctionHandle function = nullptr;
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kSuccess);
  const std::vector<std::string> destinations{"f16", "bf16", "f32", "f64"};
  for (const std::string source : {"f16", "bf16", "f32", "f64", "f8_e4m3", "f8_e5m2"}) {
    for (const std::string& destination : destinations) {
      const std::string name = "warpload_cast_" + source + "_" + destination;
      EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, name.c_str()),
                source == destination ? cuda::kNotFound : cuda::kSuccess)
          << name;
    }
  }
  for (const char* name : {"warpload_cast_f32_f8_e4m3", "warpload_cast_f32", "warpload_cast_i8_f32", "f32_f16", ""}) {
    EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, name), cuda::kNotFound) << name;
  }
}

TEST_F(FakeCudaTest, ImageWithoutCodeForTheGpuIsRefused) {
  begin({.binary_for_gpu = false});
  ModuleHandle module = nullptr;
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kNoBinaryForGpu);
  EXPECT_EQ(driver_->cuModuleLoadData(&module, nullptr), cuda::kInvalidValue);
}

TEST_F(FakeCudaTest, EmptyOrTooLargeGridIsRefused) {
  const FunctionHandle function = kernel("warpload_cast_f32_f16");
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 0, 32), cuda::kInvalidValue);
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 1, 0), cuda::kInvalidValue);
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 1, 1025), cuda::kInvalidValue);
}

TEST_F(FakeCudaTest, KernelThatIsMisalignedOrOutOfBoundsOrOverlapsBreaksItsContextWhenItRuns) {
  struct Case {
    DevicePointer source_offset;
    unsigned long long count;
    bool in_place;
    const char* fault;
  };
  for (const Case& trap : {Case{2, 8, false, "aligned"}, Case{0, kSlot / 4 + 1, false, "inside one live allocation"},
                           Case{0, 8, true, "overlap"}}) {
    begin({});
    const FunctionHandle function = kernel("warpload_cast_f32_f16");
    const DevicePointer source = allocate();
    const DevicePointer destination = trap.in_place ? source : allocate();
    EXPECT_EQ(launch(function, source + trap.source_offset, destination, trap.count), cuda::kSuccess);
    EXPECT_TRUE(only_fault_says(trap.fault)) << trap.fault;
    EXPECT_EQ(driver_->cuStreamSynchronize(nullptr), cuda::kIllegalAddress);
  }
}

TEST_F(FakeCudaTest, UnloadingAModuleWhoseKernelsAreQueuedIsAFault) {
  pause_streams();
  ModuleHandle module = nullptr;
  FunctionHandle function = nullptr;
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kSuccess);
  EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, "warpload_cast_f32_f16"), cuda::kSuccess);
  EXPECT_EQ(launch(function, allocate(), allocate(), 4), cuda::kSuccess);
  EXPECT_EQ(driver_->cuModuleUnload(module), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("queued kernels"));
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

TEST_F(FakeCudaTest, ResetDropsPausedWorkUnreadAndForgetsEverything) {
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
