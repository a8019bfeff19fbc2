#include "device/cuda/context.hpp"

#include <utility>

#include "warpload/error.hpp"

namespace warpload::cuda {

Context::Context(std::shared_ptr<const Driver> driver, int ordinal)
    : driver_(std::move(driver)), ordinal_(ordinal), name_("cuda:" + std::to_string(ordinal)) {
  int count = 0;
  driver_->check(driver_->cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count) {
    throw DeviceError({.reason = "there is no GPU " + name_ + ": the driver sees " + std::to_string(count)});
  }
}

Context::~Context() {
  // At the process's end the driver may be gone already; there is nobody to tell.
  if (handle_ == nullptr) return;
  const BesideCaptures beside(*driver_);
  static_cast<void>(driver_->cuDevicePrimaryCtxRelease_v2(device_));
}

ContextHandle Context::handle() {
  if (ContextHandle retained = handle_.load(std::memory_order_acquire)) return retained;
  const std::lock_guard lock(mutex_);
  ContextHandle retained = handle_.load(std::memory_order_relaxed);
  if (retained != nullptr) return retained;  // by another thread meanwhile
  const BesideCaptures beside(*driver_);
  WARPLOAD_CUDA(*this, cuDeviceGet, &device_, ordinal_);
  WARPLOAD_CUDA(*this, cuDevicePrimaryCtxRetain, &retained, device_);
  handle_.store(retained, std::memory_order_release);
  return retained;
}

BesideCaptures::BesideCaptures(const Driver& driver) noexcept
    : driver_(driver),
      mode_(kCaptureModeRelaxed),
      exchanged_(driver_.cuThreadExchangeStreamCaptureMode(&mode_) == kSuccess) {}

BesideCaptures::~BesideCaptures() {
  if (exchanged_) static_cast<void>(driver_.cuThreadExchangeStreamCaptureMode(&mode_));
}

CurrentContext::CurrentContext(Context& context) : driver_(context.driver()) {
  WARPLOAD_CUDA(context, cuCtxPushCurrent_v2, context.handle());
  beside_.emplace(driver_);  // afterwards: the driver may ask for a context
}

CurrentContext::~CurrentContext() {
  beside_.reset();
  ContextHandle popped = nullptr;
  static_cast<void>(driver_.cuCtxPopCurrent_v2(&popped));
}

}  // namespace warpload::cuda
