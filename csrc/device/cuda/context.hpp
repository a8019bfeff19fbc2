// One GPU's primary context, the one that CUDA's runtime and torch use.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "device/cuda/driver.hpp"

namespace warpload::cuda {

// Retains the context when it is first used, as that takes some tenths of a second the first time in a process, and
// releases it at the end. Shared by all that lives in the context. Threads: any.
class Context {
 public:
  Context(std::shared_ptr<const Driver> driver, int ordinal);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  [[nodiscard]] const Driver& driver() const noexcept { return *driver_; }
  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }  // "cuda:0"

  // Throws DeviceError when it cannot be had; a later call tries again.
  [[nodiscard]] ContextHandle handle();

  // Throws DeviceError (OutOfMemoryError where memory is what lacks) with the device's name before the driver's words.
  void check(Result result, const char* call) const { driver_->check(result, call, name_); }

 private:
  std::shared_ptr<const Driver> driver_;
  int ordinal_;
  std::string name_;
  std::mutex mutex_;  // held while the context is retained; every call of the driver asks for the handle
  DeviceHandle device_ = 0;
  std::atomic<ContextHandle> handle_ = nullptr;
};

// Lets this thread call the driver freely for as long as it lives, although another records a CUDA graph: without it
// the driver refuses whatever it deems unsafe beside a capture (allocating, pinning, asking for an event) and the
// capture is lost. Nothing that is called here touches the captured streams. Where the driver refuses the exchange
// itself, the calls that follow tell why. Ends on its own thread; may be nested.
class BesideCaptures {
 public:
  explicit BesideCaptures(const Driver& driver) noexcept;
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;
  ~BesideCaptures();

 private:
  const Driver& driver_;
  int mode_;
  bool exchanged_;
};

// Makes the context current on this thread for as long as it lives, beside captures; what was current before, and the
// thread's mode, are so again afterwards.
class CurrentContext {
 public:
  explicit CurrentContext(Context& context);
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;
  ~CurrentContext();

 private:
  const Driver& driver_;
  std::optional<BesideCaptures> beside_;
};

// Makes a call that frees something. Where the context, and with it what was to be freed, is gone already, there is
// nobody to tell.
template <class Call>
void clean_up(Context& context, const Call& call) noexcept {
  try {
    const CurrentContext current(context);
    static_cast<void>(call(context.driver()));
  } catch (...) {
  }
}

}  // namespace warpload::cuda

// Calls the driver and throws where it reports an error, naming the device and the call.
#define WARPLOAD_CUDA(context, call, ...) (context).check((context).driver().call(__VA_ARGS__), #call)
