#include "fakes/capture.hpp"

#include <algorithm>
#include <iterator>

#include "fakes/call.hpp"

namespace warpload::testing::fake {
namespace {

// What queues work in a stream is that stream's matter (refuse_stream); the others ask for what no device knows.
constexpr std::string_view kSafeCalls[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2",
    "cuThreadExchangeStreamCaptureMode",
    "cuStreamIsCapturing",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphDestroy",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuStreamWaitEvent",
    "cuEventRecord",
    "cuLaunchKernel",
};

// By the documentation of cuThreadExchangeStreamCaptureMode.
bool forbids(const Capture& capture, CaptureMode mode) {
  if (mode == CaptureMode::kRelaxed || capture.mode == CaptureMode::kRelaxed) return false;
  if (capture.thread == std::this_thread::get_id()) return true;
  return mode == CaptureMode::kGlobal && capture.mode == CaptureMode::kGlobal;
}

Result broken_by(Capture& capture, Result result) {
  capture.broken = true;
  return result;
}

}  // namespace

CaptureMode capture_mode(const State& state) {
  const auto found = state.capture_modes.find(std::this_thread::get_id());
  return static_cast<CaptureMode>(found == state.capture_modes.end() ? 0 : found->second);
}

std::optional<Result> refuse_unsafe_call(State& state, std::string_view name) {
  const bool safe = std::find(std::begin(kSafeCalls), std::end(kSafeCalls), name) != std::end(kSafeCalls);
  return safe ? std::nullopt : refuse_unsafe(state);
}

std::optional<Result> refuse_unsafe(State& state) {
  std::optional<Result> refusal;
  for (const auto& capture : state.captures) {
    if (forbids(*capture, capture_mode(state))) refusal = broken_by(*capture, cuda::kCaptureUnsupported);
  }
  return refusal;
}

bool blocks_default_stream(const State& state, const Context& context) {
  return std::any_of(state.streams.begin(), state.streams.end(), [&](const auto& entry) {
    const Stream& stream = *entry.second;
    return stream.capture && !stream.non_blocking && stream.context.get() == &context;
  });
}

std::optional<Result> refuse_stream(State& state, const Context& context, const Stream* stream) {
  if (stream != nullptr) {
    if (!stream->capture || !stream->capture->broken) return std::nullopt;
    return cuda::kCaptureInvalidated;
  }
  if (!blocks_default_stream(state, context)) return std::nullopt;
  for (const auto& [handle, other] : state.streams) {
    if (other->capture && !other->non_blocking && other->context.get() == &context) other->capture->broken = true;
  }
  return cuda::kCaptureImplicit;
}

bool is_captured(Stream& stream) {
  if (!stream.capture) return false;
  if (stream.capture->origin != &stream) stream.capture->forked.insert(&stream);
  return true;
}

std::optional<Result> refuse_waiting_for(const Stream& stream) {
  if (!stream.capture) return std::nullopt;
  return broken_by(*stream.capture, cuda::kCaptureUnsupported);
}

void note_recording(const std::shared_ptr<Stream>& stream, Record& record) {
  record.capture = stream->capture;
  record.recorded_in = stream.get();
}

std::optional<Result> note_waiting(const std::shared_ptr<Stream>& stream, const Record& record) {
  if (stream->capture && record.capture != stream->capture) {
    if (record.capture) record.capture->broken = true;
    return broken_by(*stream->capture, record.capture ? cuda::kCaptureMerge : cuda::kCaptureIsolation);
  }
  if (!record.capture) return std::nullopt;
  record.capture->forked.erase(record.recorded_in);
  stream->capture = record.capture;
  return std::nullopt;
}

std::optional<Result> refuse_captured_event(const Record& record) {
  if (!record.capture) return std::nullopt;
  return broken_by(*record.capture, cuda::kCapturedEvent);
}

}  // namespace warpload::testing::fake
