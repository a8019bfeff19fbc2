// Loads while somebody records a CUDA graph: beside it, and in the stream that is being captured.
//
// That a call outside the guard is caught was tried: without BesideCaptures in CurrentContext every case that loads
// beside a global capture fails on the fake driver, without it in Context::handle those that open the device there.
#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <string>

#include "cpp/support/backends.hpp"
#include "cpp/support/caller_stream.hpp"
#include "cpp/support/catch_error.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/stream_capture.hpp"
#include "device/backend.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using testing::BackendKind;
using testing::bytes_of;
using testing::CallerStream;
using testing::CaptureMode;
using testing::cast_bytes;
using testing::catch_error;
using testing::checkpoint_of;
using testing::f32_pattern;
using testing::kMiB;
using testing::open_device;
using testing::StreamCapture;

constexpr std::size_t kElements = 1'500'000;

Checkpoint::Ptr floats() { return checkpoint_of({{"weight", "F32", {kElements}, f32_pattern(kElements)}}); }

LoaderOptions small_slots() {
  return {.threads = 2, .pinned_bytes = 4 * kMiB, .slot_bytes = 2 * kMiB, .device_casts = DeviceCasts::kDevice};
}

// Everything that a program does with the loader: open the device, pin, allocate, copy, cast there, wait in each way,
// read back and release all of it.
void load_and_check(BackendKind kind, std::optional<void*> stream = {}) {
  const Device device = open_device(kind);
  const Loader loader(small_slots());
  loader.prepare(device, 4 * kMiB);
  const auto load =
      loader.start({{floats(), {.dtype = DType::bf16, .device = device, .stream = stream.value_or(nullptr)}},
                    {floats(), {.device = device, .stream = stream.value_or(nullptr)}}});
  ASSERT_TRUE(load.wait_segment_for(0, std::chrono::seconds(60)));
  load.rethrow_if_failed();
  load.make_stream_wait(0, stream.value_or(nullptr));
  load.wait_arrival(0);
  const LoadResult result = load.get();
  EXPECT_TRUE(bytes_of(result.tensors(0)[0], device) == cast_bytes(f32_pattern(kElements), DType::f32, DType::bf16));
  EXPECT_TRUE(bytes_of(result.tensors(1)[0], device) == f32_pattern(kElements));
  EXPECT_GT(device.memory().total_bytes, 0U);
}

// Whatever it throws is thrown here.
template <class Work>
void on_another_thread(const Work& work) {
  std::async(std::launch::async, work).get();
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ---- on a GPU as well -----------------------------------------------------------------------------------------------

class CudaCaptureTest : public testing::BackendTest {};

TEST_P(CudaCaptureTest, LoadBesideAnotherThreadsCaptureArrivesAndLeavesTheCaptureWhole) {
  CallerStream captured(GetParam());
  StreamCapture capture(GetParam(), captured);
  on_another_thread([] { load_and_check(GetParam()); });
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

TEST_P(CudaCaptureTest, LoadOrderedWithAnotherStreamBesideACaptureDoesToo) {
  CallerStream captured(GetParam());
  CallerStream own(GetParam());
  StreamCapture capture(GetParam(), captured);
  on_another_thread([&] { load_and_check(GetParam(), own.handle()); });
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

TEST_P(CudaCaptureTest, ThreadThatCapturesMayLoadInAnotherStream) {
  CallerStream captured(GetParam());
  CallerStream own(GetParam());
  for (const CaptureMode mode : {CaptureMode::kGlobal, CaptureMode::kThreadLocal, CaptureMode::kRelaxed}) {
    StreamCapture capture(GetParam(), captured, mode);
    load_and_check(GetParam(), own.handle());
    EXPECT_EQ(capture.end(), cuda::kSuccess);
  }
}

TEST_P(CudaCaptureTest, LoadThatIsToBeOrderedWithTheCapturedStreamIsRefusedWithACureAndLeavesTheCaptureWhole) {
  CallerStream captured(GetParam());
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  StreamCapture capture(GetParam(), captured);
  const auto error = catch_error<InvalidArgumentError>(
      [&] { static_cast<void>(loader.start(floats(), {.device = device, .stream = captured.handle()})); });
  EXPECT_TRUE(mentions(error.reason(), "cuda:0")) << error.what();
  EXPECT_TRUE(mentions(error.reason(), "being captured into a CUDA graph")) << error.what();
  EXPECT_TRUE(mentions(error.cure(), "before the capture begins")) << error.what();
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

TEST_P(CudaCaptureTest, CapturedStreamIsNotMadeToWaitForALoad) {
  CallerStream captured(GetParam());
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto load = loader.start(floats(), {.device = device});
  ASSERT_TRUE(load.wait_segment_for(0, std::chrono::seconds(60)));
  StreamCapture capture(GetParam(), captured);
  EXPECT_THROW(load.make_stream_wait(0, captured.handle()), InvalidArgumentError);
  EXPECT_EQ(capture.end(), cuda::kSuccess);
  load.make_stream_wait(0, captured.handle());
  EXPECT_TRUE(captured.copy_to_host(load.tensors(0)[0].data(), kElements * 4) == f32_pattern(kElements));
}

TEST_P(CudaCaptureTest, MemoryIsGivenBackBesideACaptureWithoutHarm) {
  CallerStream captured(GetParam());
  std::optional<Device> device = open_device(GetParam());
  std::optional<Loader> loader(small_slots());
  std::optional<LoadResult> result = loader->start({{floats(), {.dtype = DType::bf16, .device = *device}}}).get();
  StreamCapture capture(GetParam(), captured);
  on_another_thread([&] {
    result.reset();
    EXPECT_GT(loader->release_pinned_memory(), 0U);
    loader.reset();
    device.reset();
  });
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

WARPLOAD_ON_CUDA_BACKENDS(CudaCaptureTest);

// ---- only with the fake driver --------------------------------------------------------------------------------------

class FakeCudaCaptureLoadTest : public ::testing::Test {
 protected:
  static constexpr BackendKind kKind = BackendKind::kFakeCuda;

  void SetUp() override { testing::reset(); }
  void TearDown() override {
    EXPECT_TRUE(testing::live().nothing());
    EXPECT_EQ(testing::faults(), std::vector<std::string>{});
    testing::reset();
  }
};

TEST_F(FakeCudaCaptureLoadTest, RefusedLoadHasQueuedNothing) {
  CallerStream captured(kKind);
  const Device device = open_device(kKind);
  StreamCapture capture(kKind, captured);
  EXPECT_THROW(
      static_cast<void>(Loader(small_slots()).start(floats(), {.device = device, .stream = captured.handle()})),
      InvalidArgumentError);
  EXPECT_EQ(testing::counters().copies_to_device, 0U);
  EXPECT_EQ(testing::call_count("cuEventRecord"), 0U);
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureLoadTest, LoadOrderedWithADefaultStreamThatACaptureBlocksIsRefusedWithACure) {
  CallerStream captured(kKind, CallerStream::Default::kWaitsForIt);
  const Device device = open_device(kKind);
  const Loader loader(small_slots());
  StreamCapture capture(kKind, captured);
  const auto error =
      catch_error<InvalidArgumentError>([&] { static_cast<void>(loader.start(floats(), {.device = device})); });
  EXPECT_TRUE(mentions(error.reason(), "default stream")) << error.what();
  EXPECT_TRUE(mentions(error.cure(), "another stream")) << error.what();
  EXPECT_EQ(capture.end(), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureLoadTest, EveryThreadHasTheModeAgainThatItHadBefore) {
  const auto driver = cuda::Driver::open(testing::driver_library(kKind));
  int mode = static_cast<int>(CaptureMode::kThreadLocal);
  EXPECT_EQ(driver->cuThreadExchangeStreamCaptureMode(&mode), cuda::kSuccess);
  {
    const Device device = open_device(kKind);
    const Loader loader(small_slots());
    static_cast<void>(loader.start(floats(), {.device = device}).get());
    EXPECT_EQ(testing::threads_with_changed_capture_mode(), 1U);  // this one alone
  }
  EXPECT_EQ(driver->cuThreadExchangeStreamCaptureMode(&mode), cuda::kSuccess);
  EXPECT_EQ(mode, static_cast<int>(CaptureMode::kThreadLocal));
}

TEST_F(FakeCudaCaptureLoadTest, OthersCallsAreSafeInsideTheScopeAndOnlyThere) {
  CallerStream captured(kKind);
  const Device device = open_device(kKind);
  const auto driver = cuda::Driver::open(testing::driver_library(kKind));
  std::size_t free = 0;
  const auto foreign_call = [&] {  // as torch's allocator makes it, in the current context
    const cuda::Result pushed = driver->cuCtxPushCurrent_v2(captured.context());
    const cuda::Result result = driver->cuMemGetInfo_v2(&free, &free);
    return pushed == cuda::kSuccess && driver->cuCtxPopCurrent_v2(nullptr) == cuda::kSuccess ? result : pushed;
  };
  StreamCapture capture(kKind, captured);
  {
    const auto scope = device.backend()->beside_captures();
    EXPECT_EQ(foreign_call(), cuda::kSuccess);
  }
  EXPECT_EQ(foreign_call(), cuda::kCaptureUnsupported);
  EXPECT_EQ(capture.end(), cuda::kCaptureInvalidated);
}

}  // namespace
}  // namespace warpload
