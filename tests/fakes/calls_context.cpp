// Calls about the driver, its devices and their contexts.
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "fakes/call.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {
namespace {

struct ErrorText {
  Result result;
  const char* name;
  const char* text;
};

constexpr ErrorText kErrors[] = {
    {cuda::kSuccess, "CUDA_SUCCESS", "no error"},
    {cuda::kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {cuda::kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {cuda::kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {cuda::kDeinitialized, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {cuda::kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {cuda::kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {cuda::kInvalidImage, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {cuda::kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {cuda::kNoBinaryForGpu, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {cuda::kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {cuda::kNotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {cuda::kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {cuda::kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {cuda::kHostMemoryAlreadyRegistered, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {cuda::kHostMemoryNotRegistered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {cuda::kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {cuda::kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {cuda::kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {cuda::kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {cuda::kCaptureMerge, "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {cuda::kCaptureUnmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {cuda::kCaptureUnjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {cuda::kCaptureIsolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {cuda::kCaptureImplicit, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cuda::kCapturedEvent, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cuda::kCaptureWrongThread, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cuda::kUnknown, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ErrorText* find_error(Result result) {
  const auto* found = std::find_if(std::begin(kErrors), std::end(kErrors),
                                   [result](const ErrorText& error) { return error.result == result; });
  return found == std::end(kErrors) ? nullptr : found;
}

bool device_exists(const State& state, int device) {
  return device >= 0 && static_cast<std::size_t>(device) < state.devices.size();
}

template <typename Table>
auto count_of(const Table& table, const std::shared_ptr<Context>& context) {
  return std::count_if(table.begin(), table.end(), [&](const auto& entry) { return entry.second->context == context; });
}

// Notes what a context still has when its last reference goes.
void check_for_leftovers(Call& call, const std::shared_ptr<Context>& context) {
  const State& state = call.state;
  const auto check = [&](auto count, const char* what) {
    if (count > 0) call.fault("the context ends with " + std::to_string(count) + what, cuda::kSuccess);
  };
  check(count_of(state.allocations, context), " live allocations");
  check(count_of(state.host_ranges, context), " registered host ranges");
  check(count_of(state.streams, context), " live streams");
  check(count_of(state.events, context), " live events");
  check(count_of(state.modules, context), " loaded modules");
  check(operations_without_a_handle(state, *context), " operations that have not run");
}

}  // namespace
}  // namespace warpload::testing::fake

using namespace warpload::testing::fake;  // NOLINT: the calls are global, as a driver's are
namespace cuda = warpload::cuda;

extern "C" {

Result cuInit(unsigned flags) {
  return run_call("cuInit", Needs::kNothing, {}, [&](Call& call) {
    if (flags != 0) return cuda::kInvalidValue;
    if (call.state.devices.empty() && !call.state.options.init_without_devices) return cuda::kNoDevice;
    call.state.initialized = true;
    return cuda::kSuccess;
  });
}

Result cuDriverGetVersion(int* version) {
  return run_call("cuDriverGetVersion", Needs::kNothing, {}, [&](Call& call) {
    if (version == nullptr) return cuda::kInvalidValue;
    *version = call.state.options.driver_version;
    return cuda::kSuccess;
  });
}

Result cuGetErrorName(Result result, const char** name) {
  return run_call("cuGetErrorName", Needs::kNothing, {}, [&](Call&) {
    const ErrorText* error = find_error(result);
    *name = error == nullptr ? nullptr : error->name;
    return error == nullptr ? cuda::kInvalidValue : cuda::kSuccess;
  });
}

Result cuGetErrorString(Result result, const char** text) {
  return run_call("cuGetErrorString", Needs::kNothing, {}, [&](Call&) {
    const ErrorText* error = find_error(result);
    *text = error == nullptr ? nullptr : error->text;
    return error == nullptr ? cuda::kInvalidValue : cuda::kSuccess;
  });
}

Result cuDeviceGetCount(int* count) {
  return run_call("cuDeviceGetCount", Needs::kDriver, {}, [&](Call& call) {
    *count = static_cast<int>(call.state.devices.size());
    return cuda::kSuccess;
  });
}

Result cuDeviceGet(cuda::DeviceHandle* device, int ordinal) {
  return run_call("cuDeviceGet", Needs::kDriver, {}, [&](Call& call) {
    if (!device_exists(call.state, ordinal)) return cuda::kInvalidDevice;
    *device = ordinal;
    return cuda::kSuccess;
  });
}

Result cuDeviceGetName(char* name, int capacity, cuda::DeviceHandle device) {
  return run_call("cuDeviceGetName", Needs::kDriver, {}, [&](Call& call) {
    if (!device_exists(call.state, device)) return cuda::kInvalidDevice;
    if (name == nullptr || capacity <= 0) return cuda::kInvalidValue;
    std::snprintf(name, static_cast<std::size_t>(capacity), "Fake GPU %d", device);
    return cuda::kSuccess;
  });
}

Result cuDevicePrimaryCtxRetain(ContextHandle* handle, cuda::DeviceHandle device) {
  return run_call("cuDevicePrimaryCtxRetain", Needs::kDriver, {}, [&](Call& call) {
    State& state = call.state;
    if (!device_exists(state, device)) return cuda::kInvalidDevice;
    auto& context = state.devices[static_cast<std::size_t>(device)].context;
    if (!context) {
      context = std::make_shared<Context>();
      context->device = device;
      context->handle = state.make_handle<ContextHandle>();
      state.contexts.emplace(context->handle, context);
    }
    ++context->references;
    *handle = context->handle;
    return cuda::kSuccess;
  });
}

Result cuDevicePrimaryCtxRelease_v2(cuda::DeviceHandle device) {
  return run_call("cuDevicePrimaryCtxRelease_v2", Needs::kDriver, {}, [&](Call& call) {
    State& state = call.state;
    if (!device_exists(state, device)) return cuda::kInvalidDevice;
    auto& context = state.devices[static_cast<std::size_t>(device)].context;
    if (!context) return call.fault("the context was not retained", cuda::kInvalidContext);
    if (--context->references > 0) return cuda::kSuccess;
    check_for_leftovers(call, context);
    if (context->default_stream) end_stream(state, std::exchange(context->default_stream, nullptr));
    state.contexts.erase(context->handle);
    context = nullptr;
    return cuda::kSuccess;
  });
}

Result cuCtxPushCurrent_v2(ContextHandle handle) {
  return run_call("cuCtxPushCurrent_v2", Needs::kDriver, about(handle), [&](Call& call) {
    if (!find(call.state.contexts, handle)) return call.fault("there is no such context", cuda::kInvalidContext);
    context_stack(call.state).push_back(handle);
    return cuda::kSuccess;
  });
}

Result cuCtxPopCurrent_v2(ContextHandle* handle) {
  return run_call("cuCtxPopCurrent_v2", Needs::kDriver, {}, [&](Call& call) {
    auto& stack = context_stack(call.state);
    if (stack.empty()) return call.fault("no context is current", cuda::kInvalidContext);
    if (handle != nullptr) *handle = stack.back();
    stack.pop_back();
    return cuda::kSuccess;
  });
}

}  // extern "C"
