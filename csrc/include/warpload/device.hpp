// Where tensors can live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace warpload {

class DeviceBackend;

enum class DeviceKind : std::uint8_t { kHost, kCuda };

// Names a device; a plain value.
struct DeviceId {
  DeviceKind kind = DeviceKind::kHost;
  int ordinal = 0;
  friend constexpr bool operator==(const DeviceId&, const DeviceId&) = default;
};

struct DeviceMemoryInfo {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
};

// A device that tensors can be loaded to. Cheap to copy: copies share the driver and its context. Threads: every member
// may be called from any thread.
class Device {
 public:
  // The host's memory, reached as a device's would be: through slots and streams (which copy at once). For tests, and
  // for callers that bring memory of their own; a SegmentRequest without a device is filled directly, which is faster.
  [[nodiscard]] static Device host();

  // The GPU with that number. Opens the driver at once, its primary context (the one that CUDA's runtime and torch use)
  // when it is first needed. Throws DeviceError when there is no driver or no such GPU.
  [[nodiscard]] static Device cuda(int ordinal = 0, const std::string& library = "libcuda.so.1");

  [[nodiscard]] DeviceId id() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;  // "cpu", "cuda:0"

  // Throws DeviceError.
  [[nodiscard]] DeviceMemoryInfo memory() const;

  // Copies `bytes` from the device's memory to the host's and waits for it. Throws DeviceError.
  void read(const std::byte* source, std::byte* destination, std::uint64_t bytes) const;

  [[nodiscard]] const std::shared_ptr<DeviceBackend>& backend() const noexcept { return backend_; }

 private:
  explicit Device(std::shared_ptr<DeviceBackend> backend) noexcept : backend_(std::move(backend)) {}
  std::shared_ptr<DeviceBackend> backend_;
};

}  // namespace warpload
