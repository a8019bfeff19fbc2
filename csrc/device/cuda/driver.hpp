// The CUDA driver, opened at run time: nothing links to CUDA, and one build serves machines with and without it.
#pragma once

#include <memory>
#include <string>

#include "device/cuda/driver_types.hpp"

namespace warpload::cuda {

// Function pointers of one opened driver library. Immutable once open, so every member may be used from any thread. The
// library is never unloaded: the driver starts threads of its own and does not survive it.
class Driver {
 public:
  // Opens the library, resolves every call and initialises the driver. Throws DeviceError when there is no such
  // library, when it lacks a call (an old driver), or when it finds no device.
  [[nodiscard]] static std::shared_ptr<const Driver> open(const std::string& library = "libcuda.so.1");

  // Throws DeviceError (OutOfMemoryError for kOutOfMemory) with the call's name and the driver's own words unless
  // `result` is kSuccess.
  // `device` goes before them where the call was about one.
  void check(Result result, const char* call, const std::string& device = {}) const;

  // "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY: out of memory".
  [[nodiscard]] std::string describe(Result result, const char* call) const;

#define WARPLOAD_DECLARE(name, parameters) Result(*name) parameters = nullptr;
  WARPLOAD_CUDA_CALLS(WARPLOAD_DECLARE)
#undef WARPLOAD_DECLARE

 private:
  Driver() = default;
};

}  // namespace warpload::cuda
