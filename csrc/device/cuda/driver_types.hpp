// The part of the CUDA driver's ABI that warpload uses, written down so that no toolkit is needed to build.
//
// The driver keeps these stable: names with a suffix (_v2) are the ones that its own headers map the plain names to.
#pragma once

#include <cstddef>

extern "C" {
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUmod_st;
struct CUfunc_st;
}

namespace warpload::cuda {

using Result = int;        // CUresult
using DeviceHandle = int;  // CUdevice
using ContextHandle = CUctx_st*;
using StreamHandle = CUstream_st*;  // nullptr: the legacy default stream
using EventHandle = CUevent_st*;
using ModuleHandle = CUmod_st*;
using FunctionHandle = CUfunc_st*;
using DevicePointer = unsigned long long;  // CUdeviceptr

inline constexpr Result kSuccess = 0;
inline constexpr Result kInvalidValue = 1;
inline constexpr Result kOutOfMemory = 2;
inline constexpr Result kNotInitialized = 3;
inline constexpr Result kDeinitialized = 4;
inline constexpr Result kNoDevice = 100;
inline constexpr Result kInvalidDevice = 101;
inline constexpr Result kInvalidImage = 200;
inline constexpr Result kInvalidContext = 201;
inline constexpr Result kNoBinaryForGpu = 209;
inline constexpr Result kInvalidHandle = 400;
inline constexpr Result kNotFound = 500;
inline constexpr Result kNotReady = 600;
inline constexpr Result kIllegalAddress = 700;
inline constexpr Result kHostMemoryAlreadyRegistered = 712;
inline constexpr Result kHostMemoryNotRegistered = 713;
inline constexpr Result kLaunchFailed = 719;
inline constexpr Result kNotSupported = 801;
inline constexpr Result kCaptureUnsupported = 900;
inline constexpr Result kCaptureInvalidated = 901;
inline constexpr Result kCaptureMerge = 902;
inline constexpr Result kCaptureUnmatched = 903;
inline constexpr Result kCaptureUnjoined = 904;
inline constexpr Result kCaptureIsolation = 905;
inline constexpr Result kCaptureImplicit = 906;
inline constexpr Result kCapturedEvent = 907;
inline constexpr Result kCaptureWrongThread = 908;
inline constexpr Result kUnknown = 999;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventBlockingSync = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kHostRegisterPortable = 1;

// CUstreamCaptureMode of a thread, and CUstreamCaptureStatus of a stream.
inline constexpr int kCaptureModeRelaxed = 2;
inline constexpr int kNotCapturing = 0;
inline constexpr int kCapturing = 1;
inline constexpr int kBrokenCapture = 2;

}  // namespace warpload::cuda

// Every driver call in use: X(symbol, parameter types). The table of function pointers, the fake driver of the tests
// and the test that fails each call in turn are all made from this one list.
#define WARPLOAD_CUDA_CALLS(X)                                                                                         \
  X(cuInit, (unsigned))                                                                                                \
  X(cuDriverGetVersion, (int*))                                                                                        \
  X(cuGetErrorName, (::warpload::cuda::Result, const char**))                                                          \
  X(cuGetErrorString, (::warpload::cuda::Result, const char**))                                                        \
  X(cuDeviceGetCount, (int*))                                                                                          \
  X(cuDeviceGet, (::warpload::cuda::DeviceHandle*, int))                                                               \
  X(cuDeviceGetName, (char*, int, ::warpload::cuda::DeviceHandle))                                                     \
  X(cuDevicePrimaryCtxRetain, (::warpload::cuda::ContextHandle*, ::warpload::cuda::DeviceHandle))                      \
  X(cuDevicePrimaryCtxRelease_v2, (::warpload::cuda::DeviceHandle))                                                    \
  X(cuCtxPushCurrent_v2, (::warpload::cuda::ContextHandle))                                                            \
  X(cuCtxPopCurrent_v2, (::warpload::cuda::ContextHandle*))                                                            \
  X(cuMemGetInfo_v2, (std::size_t*, std::size_t*))                                                                     \
  X(cuMemAlloc_v2, (::warpload::cuda::DevicePointer*, std::size_t))                                                    \
  X(cuMemFree_v2, (::warpload::cuda::DevicePointer))                                                                   \
  X(cuMemHostRegister_v2, (void*, std::size_t, unsigned))                                                              \
  X(cuMemHostUnregister, (void*))                                                                                      \
  X(cuMemcpyHtoDAsync_v2, (::warpload::cuda::DevicePointer, const void*, std::size_t, ::warpload::cuda::StreamHandle)) \
  X(cuMemcpyDtoHAsync_v2, (void*, ::warpload::cuda::DevicePointer, std::size_t, ::warpload::cuda::StreamHandle))       \
  X(cuStreamCreate, (::warpload::cuda::StreamHandle*, unsigned))                                                       \
  X(cuStreamDestroy_v2, (::warpload::cuda::StreamHandle))                                                              \
  X(cuStreamSynchronize, (::warpload::cuda::StreamHandle))                                                             \
  X(cuStreamWaitEvent, (::warpload::cuda::StreamHandle, ::warpload::cuda::EventHandle, unsigned))                      \
  X(cuStreamIsCapturing, (::warpload::cuda::StreamHandle, int*))                                                       \
  X(cuThreadExchangeStreamCaptureMode, (int*))                                                                         \
  X(cuEventCreate, (::warpload::cuda::EventHandle*, unsigned))                                                         \
  X(cuEventDestroy_v2, (::warpload::cuda::EventHandle))                                                                \
  X(cuEventRecord, (::warpload::cuda::EventHandle, ::warpload::cuda::StreamHandle))                                    \
  X(cuEventQuery, (::warpload::cuda::EventHandle))                                                                     \
  X(cuEventSynchronize, (::warpload::cuda::EventHandle))                                                               \
  X(cuModuleLoadData, (::warpload::cuda::ModuleHandle*, const void*))                                                  \
  X(cuModuleUnload, (::warpload::cuda::ModuleHandle))                                                                  \
  X(cuModuleGetFunction, (::warpload::cuda::FunctionHandle*, ::warpload::cuda::ModuleHandle, const char*))             \
  X(cuLaunchKernel, (::warpload::cuda::FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,     \
                     unsigned, ::warpload::cuda::StreamHandle, void**, void**))
