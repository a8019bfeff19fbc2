// Calls about stream capture: the two that the core makes, and what tests capture with.
#include <algorithm>
#include <utility>

#include "fakes/call.hpp"
#include "fakes/capture.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {
namespace {

Result begin(Call& call, StreamHandle handle, CaptureMode mode) {
  const auto stream = find(call.state.streams, handle);
  if (!stream) return cuda::kCaptureUnsupported;  // the default stream cannot be captured
  if (stream->capture) return cuda::kInvalidValue;
  auto capture = std::make_shared<Capture>();
  capture->origin = stream.get();
  capture->thread = std::this_thread::get_id();
  capture->mode = mode;
  stream->capture = capture;
  call.state.captures.push_back(std::move(capture));
  return cuda::kSuccess;
}

// Whatever the result, no stream takes part any more; recordings keep it, as they stay useless.
void take_apart(State& state, const std::shared_ptr<Capture>& capture) {
  for (const auto& [handle, stream] : state.streams) {
    if (stream->capture == capture) stream->capture = nullptr;
  }
  std::erase(state.captures, capture);
}

Result end(Call& call, StreamHandle handle) {
  const auto stream = find(call.state.streams, handle);
  if (!stream || !stream->capture) return cuda::kInvalidValue;
  const auto capture = stream->capture;
  if (capture->origin != stream.get()) return cuda::kCaptureUnmatched;
  if (capture->mode != CaptureMode::kRelaxed && capture->thread != std::this_thread::get_id()) {
    return cuda::kCaptureWrongThread;
  }
  const Result unjoined = capture->forked.empty() ? cuda::kSuccess : cuda::kCaptureUnjoined;
  take_apart(call.state, capture);
  return capture->broken ? cuda::kCaptureInvalidated : unjoined;
}

}  // namespace
}  // namespace warpload::testing::fake

using namespace warpload::testing::fake;  // NOLINT: the calls are global, as a driver's are
namespace cuda = warpload::cuda;

extern "C" {

Result cuThreadExchangeStreamCaptureMode(int* mode) {
  return run_call("cuThreadExchangeStreamCaptureMode", Needs::kDriver, {}, [&](Call& call) {
    if (mode == nullptr || *mode < 0 || *mode > 2) return cuda::kInvalidValue;
    const int before = static_cast<int>(capture_mode(call.state));
    if (*mode == 0) {
      call.state.capture_modes.erase(std::this_thread::get_id());
    } else {
      call.state.capture_modes[std::this_thread::get_id()] = *mode;
    }
    *mode = before;
    return cuda::kSuccess;
  });
}

Result cuStreamIsCapturing(StreamHandle handle, int* status) {
  return run_call("cuStreamIsCapturing", Needs::kContext, about(handle), [&](Call& call) {
    if (status == nullptr) return cuda::kInvalidValue;
    *status = cuda::kNotCapturing;
    if (handle == nullptr) {
      return blocks_default_stream(call.state, *call.context) ? cuda::kCaptureImplicit : cuda::kSuccess;
    }
    const auto stream = find(call.state.streams, handle);
    if (!stream) return call.fault("there is no such stream", cuda::kInvalidHandle);
    if (stream->capture) *status = stream->capture->broken ? cuda::kBrokenCapture : cuda::kCapturing;
    return cuda::kSuccess;
  });
}

}  // extern "C"

namespace warpload::testing {

Result cuStreamBeginCapture_v2(StreamHandle stream, int mode) {
  return run_call("cuStreamBeginCapture_v2", Needs::kContext, about(stream), [&](Call& call) {
    return mode < 0 || mode > 2 ? cuda::kInvalidValue : begin(call, stream, static_cast<CaptureMode>(mode));
  });
}

Result cuStreamEndCapture(StreamHandle stream, void** graph) {
  return run_call("cuStreamEndCapture", Needs::kContext, about(stream), [&](Call& call) {
    if (graph == nullptr) return cuda::kInvalidValue;
    const Result result = end(call, stream);
    *graph = result == cuda::kSuccess ? call.state.make_handle<void*>() : nullptr;
    return result;
  });
}

Result cuGraphDestroy(void* graph) {
  return run_call("cuGraphDestroy", Needs::kDriver, {},
                  [&](Call&) { return graph == nullptr ? cuda::kInvalidValue : cuda::kSuccess; });
}

std::size_t threads_with_changed_capture_mode() {
  State& state = fake::state();
  const Guard guard(state.mutex);
  return state.capture_modes.size();
}

}  // namespace warpload::testing
