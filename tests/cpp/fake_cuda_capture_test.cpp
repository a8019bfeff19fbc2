// The fake CUDA driver is as hostile as it says (stream capture): each test shows that a call which the driver's
// documentation forbids would break the capture here too.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "cpp/support/fake_cuda_fixture.hpp"
#include "fakes/fake_capture.hpp"

namespace warpload::testing {
namespace {

class FakeCudaCaptureTest : public FakeCudaFixture {
 protected:
  static cuda::Result begin_capture(StreamHandle stream, CaptureMode mode) {
    return cuStreamBeginCapture_v2(stream, static_cast<int>(mode));
  }

  // The graph is made where the capture was not broken, and only there.
  static cuda::Result end_capture(StreamHandle stream) {
    void* graph = nullptr;
    const cuda::Result result = cuStreamEndCapture(stream, &graph);
    EXPECT_EQ(graph != nullptr, result == cuda::kSuccess);
    return result;
  }

  // What an unsafe call gives this thread now.
  cuda::Result unsafe_call() {
    std::size_t free = 0;
    return driver_->cuMemGetInfo_v2(&free, &free);
  }

  // The same on a thread of its own, in that mode.
  cuda::Result unsafe_call_elsewhere(CaptureMode mode = CaptureMode::kGlobal) {
    cuda::Result result = cuda::kSuccess;
    std::thread([&] {
      EXPECT_EQ(driver_->cuCtxPushCurrent_v2(context_), cuda::kSuccess);
      const int before = exchange(static_cast<int>(mode));
      result = unsafe_call();
      EXPECT_EQ(exchange(before), static_cast<int>(mode));
    }).join();
    return result;
  }

  int exchange(int mode) {
    EXPECT_EQ(driver_->cuThreadExchangeStreamCaptureMode(&mode), cuda::kSuccess);
    return mode;
  }

  int status(StreamHandle stream) {
    int result = -1;
    EXPECT_EQ(driver_->cuStreamIsCapturing(stream, &result), cuda::kSuccess);
    return result;
  }

  StreamHandle make_blocking_stream() {
    StreamHandle stream = nullptr;
    EXPECT_EQ(driver_->cuStreamCreate(&stream, 0), cuda::kSuccess);
    return stream;
  }
};

// ---- who may call what ----------------------------------------------------------------------------------------------

TEST_F(FakeCudaCaptureTest, GlobalCaptureForbidsUnsafeCallsInEveryThreadThatIsNotLenientAndIsBrokenByThem) {
  const StreamHandle stream = make_stream();
  EXPECT_EQ(begin_capture(stream, CaptureMode::kGlobal), cuda::kSuccess);
  EXPECT_EQ(unsafe_call_elsewhere(CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(unsafe_call_elsewhere(CaptureMode::kThreadLocal), cuda::kSuccess);
  EXPECT_EQ(status(stream), cuda::kCapturing);
  EXPECT_EQ(unsafe_call_elsewhere(), cuda::kCaptureUnsupported);
  EXPECT_EQ(status(stream), cuda::kBrokenCapture);
  EXPECT_EQ(end_capture(stream), cuda::kCaptureInvalidated);
  EXPECT_EQ(status(stream), cuda::kNotCapturing);
  EXPECT_EQ(unsafe_call(), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureTest, CaptureOfOneThreadOnlyForbidsThatThreadAndRelaxedOneNobody) {
  const StreamHandle stream = make_stream();
  EXPECT_EQ(begin_capture(stream, CaptureMode::kThreadLocal), cuda::kSuccess);
  EXPECT_EQ(unsafe_call_elsewhere(), cuda::kSuccess);
  exchange(static_cast<int>(CaptureMode::kRelaxed));
  EXPECT_EQ(unsafe_call(), cuda::kSuccess);
  exchange(static_cast<int>(CaptureMode::kThreadLocal));
  EXPECT_EQ(unsafe_call(), cuda::kCaptureUnsupported);
  EXPECT_EQ(end_capture(stream), cuda::kCaptureInvalidated);

  EXPECT_EQ(begin_capture(stream, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(unsafe_call(), cuda::kSuccess);
  EXPECT_EQ(unsafe_call_elsewhere(), cuda::kSuccess);
  EXPECT_EQ(end_capture(stream), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureTest, ThreadThatKeepsAnotherModeIsCounted) {
  EXPECT_EQ(threads_with_changed_capture_mode(), 0U);
  EXPECT_EQ(exchange(static_cast<int>(CaptureMode::kRelaxed)), static_cast<int>(CaptureMode::kGlobal));
  EXPECT_EQ(threads_with_changed_capture_mode(), 1U);
  EXPECT_EQ(exchange(static_cast<int>(CaptureMode::kGlobal)), static_cast<int>(CaptureMode::kRelaxed));
  EXPECT_EQ(threads_with_changed_capture_mode(), 0U);
  int unknown = 3;
  EXPECT_EQ(driver_->cuThreadExchangeStreamCaptureMode(&unknown), cuda::kInvalidValue);
}

TEST_F(FakeCudaCaptureTest, WorkInOtherStreamsGoesOnBesideACapture) {
  auto slot = bytes_of(7);
  pin(slot);
  const DevicePointer pointer = allocate();
  const StreamHandle captured = make_stream();
  const StreamHandle other = make_stream();
  EXPECT_EQ(begin_capture(captured, CaptureMode::kGlobal), cuda::kSuccess);
  EXPECT_EQ(copy(pointer, slot, other), cuda::kSuccess);
  EXPECT_EQ(end_capture(captured), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(other), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), slot);
}

TEST_F(FakeCudaCaptureTest, CopyFromPageableMemoryIsUnsafe) {
  const DevicePointer pointer = allocate();
  const StreamHandle captured = make_stream();
  const StreamHandle other = make_stream();
  EXPECT_EQ(begin_capture(captured, CaptureMode::kGlobal), cuda::kSuccess);
  EXPECT_EQ(copy(pointer, bytes_of(1), other), cuda::kCaptureUnsupported);
  EXPECT_EQ(end_capture(captured), cuda::kCaptureInvalidated);
}

// ---- what takes part ------------------------------------------------------------------------------------------------

TEST_F(FakeCudaCaptureTest, CapturedWorkDoesNotRun) {
  auto slot = bytes_of(7);
  pin(slot);
  const DevicePointer pointer = allocate();
  const StreamHandle stream = make_stream();
  EXPECT_EQ(begin_capture(stream, CaptureMode::kGlobal), cuda::kSuccess);
  EXPECT_EQ(copy(pointer, slot, stream), cuda::kSuccess);
  EXPECT_EQ(end_capture(stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
  EXPECT_EQ(device_bytes(pointer, kSlot), bytes_of(0xA5));
}

TEST_F(FakeCudaCaptureTest, StreamThatWaitsForACapturedEventIsCapturedTooAndHasToComeBack) {
  const StreamHandle origin = make_stream();
  const StreamHandle fork = make_stream();
  const EventHandle event = make_event();
  const auto fork_off = [&] {
    EXPECT_EQ(begin_capture(origin, CaptureMode::kGlobal), cuda::kSuccess);
    EXPECT_EQ(driver_->cuEventRecord(event, origin), cuda::kSuccess);
    EXPECT_EQ(driver_->cuStreamWaitEvent(fork, event, 0), cuda::kSuccess);
    EXPECT_EQ(status(fork), cuda::kCapturing);
  };
  fork_off();
  EXPECT_EQ(end_capture(fork), cuda::kCaptureUnmatched);
  EXPECT_EQ(end_capture(origin), cuda::kCaptureUnjoined);
  EXPECT_EQ(status(fork), cuda::kNotCapturing);
  fork_off();
  EXPECT_EQ(driver_->cuEventRecord(event, fork), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(origin, event, 0), cuda::kSuccess);
  EXPECT_EQ(end_capture(origin), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureTest, CapturedStreamMustNotDependOnWhatIsNotCapturedWithIt) {
  const StreamHandle captured = make_stream();
  const StreamHandle other = make_stream();
  const EventHandle event = make_event();
  EXPECT_EQ(driver_->cuEventRecord(event, other), cuda::kSuccess);
  EXPECT_EQ(begin_capture(captured, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(captured, event, 0), cuda::kCaptureIsolation);
  EXPECT_EQ(driver_->cuEventRecord(event, captured), cuda::kCaptureInvalidated);
  EXPECT_EQ(end_capture(captured), cuda::kCaptureInvalidated);

  EXPECT_EQ(begin_capture(captured, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(begin_capture(other, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, other), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(captured, event, 0), cuda::kCaptureMerge);
  EXPECT_EQ(end_capture(captured), cuda::kCaptureInvalidated);
  EXPECT_EQ(end_capture(other), cuda::kCaptureInvalidated);
}

TEST_F(FakeCudaCaptureTest, NobodyCanWaitForWhatIsCaptured) {
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const auto broken_by = [&](auto wait) {
    EXPECT_EQ(begin_capture(stream, CaptureMode::kRelaxed), cuda::kSuccess);
    EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
    const cuda::Result result = wait();
    EXPECT_EQ(end_capture(stream), cuda::kCaptureInvalidated);
    return result;
  };
  EXPECT_EQ(broken_by([&] { return driver_->cuEventQuery(event); }), cuda::kCapturedEvent);
  EXPECT_EQ(broken_by([&] { return driver_->cuEventSynchronize(event); }), cuda::kCapturedEvent);
  EXPECT_EQ(broken_by([&] { return driver_->cuStreamSynchronize(stream); }), cuda::kCaptureUnsupported);
}

TEST_F(FakeCudaCaptureTest, DefaultStreamIsOfNoUseWhileAStreamThatItWaitsForIsCaptured) {
  const EventHandle event = make_event();
  const StreamHandle blocking = make_blocking_stream();
  int result = 0;
  EXPECT_EQ(begin_capture(blocking, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamIsCapturing(nullptr, &result), cuda::kCaptureImplicit);
  EXPECT_EQ(status(blocking), cuda::kCapturing);
  EXPECT_EQ(driver_->cuEventRecord(event, nullptr), cuda::kCaptureImplicit);
  EXPECT_EQ(end_capture(blocking), cuda::kCaptureInvalidated);

  const StreamHandle stream = make_stream();
  EXPECT_EQ(begin_capture(stream, CaptureMode::kRelaxed), cuda::kSuccess);
  EXPECT_EQ(status(nullptr), cuda::kNotCapturing);
  EXPECT_EQ(driver_->cuEventRecord(event, nullptr), cuda::kSuccess);
  EXPECT_EQ(end_capture(stream), cuda::kSuccess);
}

TEST_F(FakeCudaCaptureTest, CaptureBeginsOnceAndEndsOnItsThread) {
  const StreamHandle stream = make_stream();
  EXPECT_EQ(begin_capture(nullptr, CaptureMode::kGlobal), cuda::kCaptureUnsupported);
  EXPECT_EQ(end_capture(stream), cuda::kInvalidValue);
  EXPECT_EQ(begin_capture(stream, CaptureMode::kGlobal), cuda::kSuccess);
  EXPECT_EQ(begin_capture(stream, CaptureMode::kGlobal), cuda::kInvalidValue);
  std::thread([&] {
    EXPECT_EQ(driver_->cuCtxPushCurrent_v2(context_), cuda::kSuccess);
    EXPECT_EQ(end_capture(stream), cuda::kCaptureWrongThread);
  }).join();
  EXPECT_EQ(end_capture(stream), cuda::kSuccess);
  EXPECT_TRUE(faults().empty());
}

}  // namespace
}  // namespace warpload::testing
