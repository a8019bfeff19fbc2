#include "device/cuda/driver.hpp"

#include <dlfcn.h>

#include "warpload/error.hpp"

namespace warpload::cuda {
namespace {

constexpr char kInstallDriver[] = "install NVIDIA's driver, or load to the CPU";
constexpr char kUpdateDriver[] = "install a newer driver of NVIDIA's, or load to the CPU";
constexpr char kStartAnew[] =
    "CUDA does not work in a child of fork once its parent has used it: start the process anew ('spawn' in Python's "
    "multiprocessing), or load to the CPU";
constexpr char kCheckDevices[] =
    "see whether nvidia-smi lists the GPU and CUDA_VISIBLE_DEVICES hides none, or load to the CPU";

std::string quoted(const std::string& library) { return "the CUDA driver '" + library + "'"; }

void* open_library(const std::string& library) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  const char* message = ::dlerror();
  throw DeviceError(
      {.reason = quoted(library) + " could not be opened: " + (message != nullptr ? message : "no reason"),
       .cure = kInstallDriver});
}

void* find_call(void* handle, const std::string& library, const char* name) {
  void* address = ::dlsym(handle, name);
  if (address == nullptr) {
    throw DeviceError({.reason = quoted(library) + " lacks the call " + name, .cure = kUpdateDriver});
  }
  return address;
}

}  // namespace

std::shared_ptr<const Driver> Driver::open(const std::string& library) {
  void* handle = open_library(library);
  const std::shared_ptr<Driver> driver(new Driver);
#define WARPLOAD_RESOLVE(name, parameters) \
  driver->name = reinterpret_cast<Result(*) parameters>(find_call(handle, library, #name));
  WARPLOAD_CUDA_CALLS(WARPLOAD_RESOLVE)
#undef WARPLOAD_RESOLVE

  int devices = 0;
  const Result initialised = driver->cuInit(0);
  if (initialised != kSuccess && initialised != kNoDevice) {
    throw DeviceError({.reason = driver->describe(initialised, "cuInit"),
                       .driver_error = initialised,
                       .cure = initialised == kNotInitialized ? kStartAnew : kCheckDevices});
  }
  if (initialised == kSuccess) driver->check(driver->cuDeviceGetCount(&devices), "cuDeviceGetCount");
  if (devices <= 0) throw DeviceError({.reason = quoted(library) + " finds no GPU", .cure = kCheckDevices});
  return driver;
}

void Driver::check(Result result, const char* call, const std::string& device) const {
  if (result == kSuccess) return;
  const std::string reason = (device.empty() ? "" : device + ": ") + describe(result, call);
  if (result == kOutOfMemory) throw OutOfMemoryError({.reason = reason, .driver_error = result});
  throw DeviceError({.reason = reason, .driver_error = result});
}

std::string Driver::describe(Result result, const char* call) const {
  const char* name = nullptr;
  const char* text = nullptr;
  std::string description = std::string(call) + ": ";
  if (cuGetErrorName(result, &name) != kSuccess || name == nullptr) {
    return description + "error " + std::to_string(result);
  }
  description += name;
  if (cuGetErrorString(result, &text) == kSuccess && text != nullptr) description.append(": ").append(text);
  return description;
}

}  // namespace warpload::cuda
