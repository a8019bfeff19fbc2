// The fake CUDA driver is as hostile as it says (streams, events and kernels): each test shows that a mistake would not
// go unseen.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cpp/support/fake_cuda_fixture.hpp"
#include "fakes/fake_cuda.hpp"

namespace warpload::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class FakeCudaStreamTest : public FakeCudaFixture {};

// ---- streams and events ---------------------------------------------------------------------------------------------

TEST_F(FakeCudaStreamTest, NothingRunsWhileStreamsArePaused) {
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

TEST_F(FakeCudaStreamTest, StreamRunsItsWorkInOrder) {
  const StreamHandle stream = make_stream();
  const DevicePointer pointer = allocate();
  for (unsigned char value = 0; value < 20; ++value) EXPECT_EQ(copy(pointer, bytes_of(value), stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(19));
  EXPECT_EQ(counters().executed, 20U);
}

TEST_F(FakeCudaStreamTest, EventThatWasNeverRecordedIsComplete) {
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kSuccess);
  const StreamHandle stream = make_stream();
  EXPECT_EQ(driver_->cuStreamWaitEvent(stream, event, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
}

TEST_F(FakeCudaStreamTest, StreamWaitsForTheRecordingThatWasLatestAtTheCallThoughTheEventIsDestroyed) {
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

TEST_F(FakeCudaStreamTest, DestroyedStreamFinishesItsWork) {
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

TEST_F(FakeCudaStreamTest, StreamOfAnotherContextIsAFault) {
  const StreamHandle stream = make_stream();
  enter(1);
  EXPECT_EQ(copy(allocate(), bytes_of(1), stream), cuda::kInvalidHandle);
  EXPECT_TRUE(only_fault_says("not of the current context"));
}

TEST_F(FakeCudaStreamTest, DestroyedEventIsAFaultWhenUsed) {
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventDestroy_v2(event), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kInvalidHandle);
  EXPECT_TRUE(only_fault_says("no such event"));
}

TEST_F(FakeCudaStreamTest, ThreadsThatShareSlotsByEventsLeaveNoFault) {
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

TEST_F(FakeCudaStreamTest, KernelCastsEveryElementWhateverItsGrid) {
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

TEST_F(FakeCudaStreamTest, ModuleHasTheCastsThatTheCoreHasAndNoOther) {
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

TEST_F(FakeCudaStreamTest, ImageWithoutCodeForTheGpuIsRefused) {
  begin({.binary_for_gpu = false});
  ModuleHandle module = nullptr;
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kNoBinaryForGpu);
  EXPECT_EQ(driver_->cuModuleLoadData(&module, nullptr), cuda::kInvalidValue);
}

TEST_F(FakeCudaStreamTest, EmptyOrTooLargeGridIsRefused) {
  const FunctionHandle function = kernel("warpload_cast_f32_f16");
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 0, 32), cuda::kInvalidValue);
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 1, 0), cuda::kInvalidValue);
  EXPECT_EQ(launch(function, allocate(), allocate(), 1, 1, 1025), cuda::kInvalidValue);
}

TEST_F(FakeCudaStreamTest, KernelThatIsMisalignedOrOutOfBoundsOrOverlapsBreaksItsContextWhenItRuns) {
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

TEST_F(FakeCudaStreamTest, UnloadingAModuleWhoseKernelsAreQueuedIsAFault) {
  pause_streams();
  ModuleHandle module = nullptr;
  FunctionHandle function = nullptr;
  EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kSuccess);
  EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, "warpload_cast_f32_f16"), cuda::kSuccess);
  EXPECT_EQ(launch(function, allocate(), allocate(), 4), cuda::kSuccess);
  EXPECT_EQ(driver_->cuModuleUnload(module), cuda::kInvalidValue);
  EXPECT_TRUE(only_fault_says("queued kernels"));
}

}  // namespace
}  // namespace warpload::testing
