// What only a driver shows: streams of the caller's, slots in flight, what is pinned, and every call failing in turn.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cpp/support/backends.hpp"
#include "cpp/support/caller_stream.hpp"
#include "cpp/support/catch_error.hpp"
#include "cpp/support/load_cases.hpp"
#include "device/backend.hpp"
#include "device/cuda/context.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using testing::BackendKind;
using testing::bf16_pattern;
using testing::bytes_of;
using testing::CallerStream;
using testing::cast_bytes;
using testing::catch_error;
using testing::checkpoint_of;
using testing::f32_pattern;
using testing::kMiB;
using testing::open_device;

constexpr std::size_t kElements = 3'000'000;

LoaderOptions small_slots(unsigned threads = 3) {
  return {.threads = threads, .pinned_bytes = 6 * kMiB, .slot_bytes = 2 * kMiB};
}

Checkpoint::Ptr floats(std::size_t elements = kElements) {
  return checkpoint_of({{"weight", "F32", {elements}, f32_pattern(elements)}}, {.path = "model.safetensors"});
}

// ---- on a GPU as well -----------------------------------------------------------------------------------------------

class CudaLoadTest : public testing::BackendTest {};

TEST_P(CudaLoadTest, MemoryThatTheCallersStreamStillWritesIsFilledAfterwards) {
  const Device device = open_device(GetParam());
  CallerStream stream(GetParam());
  std::shared_ptr<Segment> memory;
  const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
    const std::uint64_t bytes[] = {sizes[0].bytes};
    memory = device.backend()->allocate(bytes)[0];
    for (int round = 0; round < 8; ++round) stream.copy_to_device(memory->data(), std::string(sizes[0].bytes, '\xEE'));
    return std::vector<AdoptedMemory>{{memory->data(), memory}};
  };
  const auto tensors = Loader(small_slots())
                           .start({{floats(), {.device = device, .stream = stream.handle()}}}, allocate)
                           .get()
                           .tensors();
  EXPECT_TRUE(bytes_of(tensors[0], device) == f32_pattern(kElements));
}

TEST_P(CudaLoadTest, CallersStreamFindsTheBytesAfterMakeStreamWait) {
  const Device device = open_device(GetParam());
  CallerStream stream(GetParam());
  const Loader loader(small_slots());
  const auto load = loader.start(floats(), {.device = device, .stream = stream.handle()});
  ASSERT_TRUE(load.wait_segment_for(0, std::chrono::seconds(60)));
  load.make_stream_wait(0, stream.handle());
  const Tensor& tensor = load.tensors(0)[0];
  EXPECT_TRUE(stream.copy_to_host(tensor.data(), tensor.nbytes()) == f32_pattern(kElements));
}

TEST_P(CudaLoadTest, ArenaThatDoesNotFitIsRefusedWithTheSizesBeforeAnythingIsRead) {
  const Device device = open_device(GetParam());
  const std::uint64_t total = device.memory().total_bytes;
  const std::array<std::uint64_t, 2> sizes{total / 2, total};
  const auto error = catch_error<OutOfMemoryError>([&] { static_cast<void>(device.backend()->allocate(sizes)); });
  EXPECT_NE(error.reason().find(std::to_string(total / 2 + total)), std::string::npos) << error.what();
  EXPECT_NE(error.reason().find(std::to_string(total)), std::string::npos) << error.what();
}

TEST_P(CudaLoadTest, GpuThatDoesNotExistIsRefusedByNumber) {
  const auto error = catch_error<DeviceError>([] { static_cast<void>(open_device(GetParam(), 99)); });
  EXPECT_NE(error.reason().find("cuda:99"), std::string::npos) << error.what();
}

WARPLOAD_ON_CUDA_BACKENDS(CudaLoadTest);

// ---- only with the fake driver --------------------------------------------------------------------------------------

class FakeCudaLoadTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::reset(); }
  void TearDown() override {
    EXPECT_TRUE(testing::live().nothing());
    EXPECT_EQ(testing::faults(), std::vector<std::string>{});
    testing::reset();
  }
  static Device device(int ordinal = 0) { return open_device(BackendKind::kFakeCuda, ordinal); }
};

TEST_F(FakeCudaLoadTest, EachSlotGoesOutAsOneCopyFromPinnedMemory) {
  const Device gpu = device();
  static_cast<void>(Loader(small_slots()).start(floats(), {.device = gpu}).get());
  EXPECT_EQ(testing::counters().copies_to_device, 8U);  // 12 MB: three first slots of 1 MiB, the others of 2
  EXPECT_EQ(testing::counters().bytes_to_device, kElements * 4);
  EXPECT_EQ(testing::counters().pageable_copies, 0U);
}

TEST_F(FakeCudaLoadTest, PinnedSlotsAreRegisteredOnceForSeveralLoads) {
  const Device gpu = device();
  const Loader loader(small_slots());
  for (int round = 0; round < 3; ++round) {
    static_cast<void>(loader.start(floats(), {.device = gpu}).get());
  }
  EXPECT_LE(testing::call_count("cuMemHostRegister_v2"), 3U);
  EXPECT_EQ(testing::call_count("cuMemHostUnregister"), 0U);
}

TEST_F(FakeCudaLoadTest, ReleasingASegmentsTensorsReleasesItsMemoryAndLeavesTheOthers) {
  const Device gpu = device();
  auto result = Loader(small_slots()).start({{floats(), {.device = gpu}}, {floats(1000), {.device = gpu}}}).get();
  const std::uint64_t both = testing::live().allocated_bytes;
  const TensorList kept = result.tensors(1);
  result = {};
  EXPECT_EQ(testing::live().allocations, 1U);
  EXPECT_EQ(testing::live().allocated_bytes, both - (kElements * 4 + 511) / 512 * 512);
  EXPECT_TRUE(bytes_of(kept[0], gpu) == f32_pattern(1000));
}

TEST_F(FakeCudaLoadTest, PeakIsTheWeightsAndAtMostTheStagingOfTheCasts) {
  const Device gpu = device();
  LoaderOptions options = small_slots();
  static_cast<void>(Loader(options).start(floats(), {.device = gpu}).get());
  EXPECT_LE(testing::live().peak_bytes[0], kElements * 4 + 512);
  options.device_casts = DeviceCasts::kDevice;
  static_cast<void>(Loader(options).start(floats(), {.dtype = DType::f64, .device = gpu}).get());
  EXPECT_LE(testing::live().peak_bytes[0], kElements * 8 + 512 + 4 * options.slot_bytes);
}

TEST_F(FakeCudaLoadTest, EachComponentsCopiesRunOnItsOwnGpu) {
  const Device first = device(0);
  const Device second = device(1);
  const auto result =
      Loader(small_slots()).start({{floats(), {.device = first}}, {floats(500'000), {.device = second}}}).get();
  EXPECT_TRUE(bytes_of(result.tensors(0)[0], first) == f32_pattern(kElements));
  EXPECT_TRUE(bytes_of(result.tensors(1)[0], second) == f32_pattern(500'000));
  EXPECT_LE(testing::live().peak_bytes[1], 500'000U * 4 + 512);
  EXPECT_EQ(result.tensors(1)[0].device().ordinal, 1);
}

TEST_F(FakeCudaLoadTest, CastsRunOnTheHostWhereTheImageDoesNotFitTheGpu) {
  testing::reset({.binary_for_gpu = false});
  const Device gpu = device();
  LoaderOptions options = small_slots();
  options.device_casts = DeviceCasts::kDevice;
  const auto tensors = Loader(options).start(floats(), {.dtype = DType::bf16, .device = gpu}).get().tensors();
  EXPECT_TRUE(bytes_of(tensors[0], gpu) == cast_bytes(f32_pattern(kElements), DType::f32, DType::bf16));
  EXPECT_EQ(testing::counters().launches, 0U);
}

TEST_F(FakeCudaLoadTest, CastsRunOnTheHostWhereThereIsNoMemoryForStaging) {
  testing::reset({.device_bytes = 16 * kMiB});
  const Device gpu = device();
  LoaderOptions options = small_slots();
  options.device_casts = DeviceCasts::kDevice;
  options.slot_bytes = 8 * kMiB;
  const auto tensors = Loader(options).start(floats(), {.dtype = DType::bf16, .device = gpu}).get().tensors();
  EXPECT_TRUE(bytes_of(tensors[0], gpu) == cast_bytes(f32_pattern(kElements), DType::f32, DType::bf16));
  EXPECT_EQ(testing::counters().launches, 0U);
}

TEST_F(FakeCudaLoadTest, RingIsSmallerWhereLessCanBePinned) {
  testing::reset({.registered_limit = 4 * kMiB});
  const Device gpu = device();
  const Loader loader(small_slots());
  const auto tensors = loader.start(floats(), {.device = gpu}).get().tensors();
  EXPECT_EQ(testing::counters().pageable_copies, 0U);
  EXPECT_LE(loader.pinned_bytes(), 4 * kMiB);
  EXPECT_TRUE(bytes_of(tensors[0], gpu) == f32_pattern(kElements));
}

TEST_F(FakeCudaLoadTest, PageableSlotsServeWhereNothingCanBePinnedAndTheReasonIsKept) {
  testing::reset({.registered_limit = 0});
  const Device gpu = device();
  const Loader loader(small_slots());
  const auto tensors = loader.start(floats(), {.device = gpu}).get().tensors();
  EXPECT_GT(testing::counters().pageable_copies, 0U);
  EXPECT_TRUE(bytes_of(tensors[0], gpu) == f32_pattern(kElements));
  EXPECT_NE(loader.pinning_failure().find("cuMemHostRegister_v2"), std::string::npos) << loader.pinning_failure();
}

TEST_F(FakeCudaLoadTest, CopyThatFailsWhileItRunsEndsTheLoadWithTheDriversWords) {
  const Device gpu = device();
  testing::fail_execution(3, cuda::kIllegalAddress);
  const Loader loader(small_slots());
  auto load = loader.start(floats(), {.device = gpu});
  const auto error = catch_error<DeviceError>([&] { static_cast<void>(load.get()); });
  EXPECT_NE(error.reason().find("cuda:0"), std::string::npos) << error.what();
  EXPECT_EQ(error.driver_error(), cuda::kIllegalAddress);
  EXPECT_TRUE(load.done());
}

TEST_F(FakeCudaLoadTest, RequestForAnotherDeviceThanItsArenasIsRefused) {
  alignas(256) std::array<std::byte, 512> memory = {};
  const Arena arena = Arena::adopt(memory.data(), memory.size(), Device::host());
  const auto error = catch_error<InvalidArgumentError>(
      [&] { static_cast<void>(Loader().start(floats(1), {.device = device(), .arena = arena})); });
  EXPECT_NE(error.reason().find("cuda:0"), std::string::npos);
  EXPECT_EQ(arena.bytes_taken(), 0U);
}

TEST_F(FakeCudaLoadTest, LoadEndsOnlyWhenItsCopiesHaveRun) {
  const Device gpu = device();
  const Loader loader(small_slots());
  testing::pause_streams();
  const auto load = loader.start(floats(200'000), {.device = gpu});
  EXPECT_TRUE(load.wait_segment_for(0, std::chrono::seconds(60)));  // queued
  EXPECT_FALSE(load.wait_for(std::chrono::milliseconds(100)));
  testing::resume_streams();
  EXPECT_TRUE(load.wait_for(std::chrono::seconds(60)));
}

TEST_F(FakeCudaLoadTest, SlotsThatAreBeingCopiedAreNotFilledAgain) {
  const Device gpu = device();
  testing::pause_streams();
  const Loader loader(small_slots(1));
  const auto load = loader.start(floats(), {.device = gpu});
  EXPECT_FALSE(load.wait_segment_for(0, std::chrono::milliseconds(100)));
  EXPECT_LE(load.progress().bytes_done, 6 * kMiB);  // three slots are full, and none is free
  testing::resume_streams();
  EXPECT_TRUE(bytes_of(load.get().tensors()[0], gpu) == f32_pattern(kElements));
}

// ---- every call fails once ------------------------------------------------------------------------------------------

// Calls whose failure leaves behind what they were to free, on the fake as on a real driver.
const std::set<std::string> kFreeing{"cuMemFree_v2",      "cuMemHostUnregister", "cuStreamDestroy_v2",
                                     "cuEventDestroy_v2", "cuModuleUnload",      "cuDevicePrimaryCtxRelease_v2",
                                     "cuCtxPopCurrent_v2"};
// Calls that a load survives: it pins less, or waits another way, or only describes an error.
const std::set<std::string> kSurvived{"cuThreadExchangeStreamCaptureMode",
                                      "cuMemHostRegister_v2",
                                      "cuEventQuery",
                                      "cuGetErrorName",
                                      "cuGetErrorString",
                                      "cuDriverGetVersion",
                                      "cuDeviceGetName"};

const char* const kCalls[] = {
#define WARPLOAD_NAME(name, parameters) #name,
    WARPLOAD_CUDA_CALLS(WARPLOAD_NAME)
#undef WARPLOAD_NAME
};

class FailingCallTest : public ::testing::TestWithParam<std::tuple<const char*, unsigned>> {};

// Loads with a cast on the device and reads back.
void load_and_check(const Device& gpu) {
  LoaderOptions options = small_slots();
  options.device_casts = DeviceCasts::kDevice;
  const Loader loader(options);
  const auto load = loader.start({{floats(), {.dtype = DType::bf16, .device = gpu}}, {floats(1000), {.device = gpu}}});
  static_cast<void>(load.wait_segment_for(0, std::chrono::seconds(60)));
  load.rethrow_if_failed();
  load.make_stream_wait(0, nullptr);
  const LoadResult result = load.get();
  EXPECT_TRUE(bytes_of(result.tensors(0)[0], gpu) == cast_bytes(f32_pattern(kElements), DType::f32, DType::bf16));
  EXPECT_TRUE(bytes_of(result.tensors(1)[0], gpu) == f32_pattern(1000));
}

// What the load has queued in the caller's own stream is the caller's to wait for.
void synchronize_default_stream() {
  cuda::Context context(cuda::Driver::open(testing::driver_library(BackendKind::kFakeCuda)), 0);
  const cuda::CurrentContext current(context);
  WARPLOAD_CUDA(context, cuStreamSynchronize, nullptr);
}

// "" or what the error says.
std::string load_and_describe_error() {
  std::optional<Device> gpu;
  try {
    gpu = open_device(BackendKind::kFakeCuda);
    load_and_check(*gpu);
  } catch (const Error& error) {
    if (gpu) synchronize_default_stream();  // the failure has been had: these calls succeed
    return error.what();
  }
  return "";
}

TEST_P(FailingCallTest, GivesAClearErrorAndLeavesNothingBehind) {
  const auto [name, nth] = GetParam();
  testing::reset({.delay = std::chrono::microseconds(20)});
  testing::fail_call(name, nth, cuda::kUnknown);
  const std::string error = load_and_describe_error();
  const bool freeing = kFreeing.contains(name);
  const bool waits = std::string(name) == "cuEventSynchronize" || std::string(name) == "cuStreamSynchronize";
  const bool only_in_cleanup = waits && error.empty();  // where nobody is left to be told
  if (testing::call_count(name) < nth || freeing || kSurvived.contains(name)) {
    EXPECT_EQ(error, "");
  } else if (!only_in_cleanup) {
    EXPECT_NE(error.find(name), std::string::npos) << error;
  }
  EXPECT_TRUE(freeing || testing::live().nothing());
  EXPECT_TRUE(freeing || testing::faults().empty()) << testing::faults().front();
  testing::reset();
}

INSTANTIATE_TEST_SUITE_P(Calls, FailingCallTest,
                         ::testing::Combine(::testing::ValuesIn(kCalls), ::testing::Values(1U, 2U, 5U)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) + "_" + std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace warpload
