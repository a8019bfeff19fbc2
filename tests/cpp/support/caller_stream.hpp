// A stream of a GPU that does not belong to the loader.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "cpp/support/backends.hpp"
#include "device/cuda/context.hpp"

namespace warpload::testing {

// Threads: one at a time.
class CallerStream {
 public:
  // How the default stream goes about it.
  enum class Default : unsigned { kWaitsForIt = 0, kIgnoresIt = cuda::kStreamNonBlocking };

  explicit CallerStream(BackendKind kind, Default other = Default::kIgnoresIt)
      : context_(std::make_shared<cuda::Context>(cuda::Driver::open(driver_library(kind)), 0)) {
    const cuda::CurrentContext current(*context_);
    WARPLOAD_CUDA(*context_, cuStreamCreate, &handle_, static_cast<unsigned>(other));
  }
  CallerStream(const CallerStream&) = delete;
  CallerStream& operator=(const CallerStream&) = delete;
  ~CallerStream() {
    const cuda::CurrentContext current(*context_);
    static_cast<void>(context_->driver().cuStreamDestroy_v2(handle_));
  }

  void copy_to_device(std::byte* destination, const std::string& bytes) {
    const cuda::CurrentContext current(*context_);
    WARPLOAD_CUDA(*context_, cuMemcpyHtoDAsync_v2, address(destination), bytes.data(), bytes.size(), handle_);
  }
  std::string copy_to_host(const std::byte* source, std::size_t size) {
    std::string bytes(size, '\0');
    const cuda::CurrentContext current(*context_);
    WARPLOAD_CUDA(*context_, cuMemcpyDtoHAsync_v2, bytes.data(), address(source), size, handle_);
    WARPLOAD_CUDA(*context_, cuStreamSynchronize, handle_);
    return bytes;
  }
  [[nodiscard]] void* handle() const noexcept { return handle_; }
  [[nodiscard]] cuda::ContextHandle context() const { return context_->handle(); }

 private:
  static cuda::DevicePointer address(const std::byte* pointer) {
    return reinterpret_cast<cuda::DevicePointer>(pointer);
  }
  std::shared_ptr<cuda::Context> context_;
  cuda::StreamHandle handle_ = nullptr;
};

}  // namespace warpload::testing
