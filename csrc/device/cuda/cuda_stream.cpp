#include "device/cuda/cuda_stream.hpp"

#include <algorithm>
#include <utility>

#include "warpload/error.hpp"

namespace warpload::cuda {

namespace {

// A stream that is recorded into a CUDA graph takes part in nothing else: an event of it would draw our streams into
// the graph, and one of ours would break it. Asking does no harm.
void check_is_not_captured(Context& context, StreamHandle stream) {
  int status = kNotCapturing;
  const Result result = context.driver().cuStreamIsCapturing(stream, &status);
  if (result == kCaptureImplicit) {
    throw InvalidArgumentError({.reason = context.name() + ": the default stream is of no use while a CUDA graph is " +
                                          "captured in a stream that waits for it",
                                .cure = "load before the capture begins, or order the load with another stream"});
  }
  context.check(result, "cuStreamIsCapturing");
  if (status == kNotCapturing) return;
  throw InvalidArgumentError(
      {.reason = context.name() + ": the caller's stream is being captured into a CUDA graph, and a load cannot be " +
                 "part of one",
       .cure = "load before the capture begins"});
}

}  // namespace

CudaEvent::CudaEvent(std::shared_ptr<EventPool> events, StreamHandle stream)
    : events_(std::move(events)), handle_(events_->take()) {
  Context& context = events_->context();
  const Result result = context.driver().cuEventRecord(handle_, stream);
  if (result == kSuccess) return;
  events_->release(handle_);
  context.check(result, "cuEventRecord");
}

CudaEvent::~CudaEvent() { events_->release(handle_); }

bool CudaEvent::done() {
  Context& context = events_->context();
  const CurrentContext current(context);
  const Result result = context.driver().cuEventQuery(handle_);
  if (result == kNotReady) return false;
  context.check(result, "cuEventQuery");
  return true;
}

void CudaEvent::synchronize() {
  const CurrentContext current(events_->context());
  WARPLOAD_CUDA(events_->context(), cuEventSynchronize, handle_);
}

CudaStream::CudaStream(std::shared_ptr<Context> context, std::shared_ptr<EventPool> events,
                       std::shared_ptr<CastModule> casts)
    : context_(std::move(context)), events_(std::move(events)), casts_(std::move(casts)) {
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuStreamCreate, &handle_, kStreamNonBlocking);
}

CudaStream::~CudaStream() {
  clean_up(*context_, [&](const Driver& driver) { return driver.cuStreamDestroy_v2(handle_); });
}

void CudaStream::copy_to_device(std::byte* destination, std::span<const std::byte> source) {
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuMemcpyHtoDAsync_v2, device_pointer(destination), source.data(), source.size(), handle_);
}

void CudaStream::copy_to_host(std::span<std::byte> destination, const std::byte* source) {
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuMemcpyDtoHAsync_v2, destination.data(), device_pointer(source), destination.size(),
                handle_);
}

void CudaStream::cast(DType source_dtype, const std::byte* source, DType destination_dtype, std::byte* destination,
                      std::uint64_t count) {
  constexpr std::uint64_t kThreads = 256;
  constexpr std::uint64_t kMostBlocks = 4096;  // the kernels stride over the rest
  const FunctionHandle function = casts_->find(source_dtype, destination_dtype);
  if (function == nullptr) throw InvalidArgumentError({.reason = "this GPU does not cast between these dtypes"});
  DevicePointer from = device_pointer(source);
  DevicePointer to = device_pointer(destination);
  unsigned long long elements = count;
  void* arguments[] = {&from, &to, &elements};
  const auto blocks =
      static_cast<unsigned>(std::clamp<std::uint64_t>((count + kThreads - 1) / kThreads, 1, kMostBlocks));
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuLaunchKernel, function, blocks, 1, 1, kThreads, 1, 1, 0, handle_, arguments, nullptr);
}

std::unique_ptr<Event> CudaStream::record() {
  const CurrentContext current(*context_);
  return std::make_unique<CudaEvent>(events_, handle_);
}

void CudaStream::check_caller(void* caller_stream) {
  const CurrentContext current(*context_);
  check_is_not_captured(*context_, static_cast<StreamHandle>(caller_stream));
}

void CudaStream::wait_for_caller(void* caller_stream) {
  const CurrentContext current(*context_);
  check_is_not_captured(*context_, static_cast<StreamHandle>(caller_stream));
  const CudaEvent event(events_, static_cast<StreamHandle>(caller_stream));
  WARPLOAD_CUDA(*context_, cuStreamWaitEvent, handle_, event.handle(), 0);
}

void CudaStream::make_caller_wait(void* caller_stream) {
  const CurrentContext current(*context_);
  check_is_not_captured(*context_, static_cast<StreamHandle>(caller_stream));
  const CudaEvent event(events_, handle_);
  WARPLOAD_CUDA(*context_, cuStreamWaitEvent, static_cast<StreamHandle>(caller_stream), event.handle(), 0);
}

void CudaStream::synchronize() {
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuStreamSynchronize, handle_);
}

}  // namespace warpload::cuda
