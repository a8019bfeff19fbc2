/// @file
/// Where tensors can live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "warpload/export.h"

namespace warpload {

class DeviceBackend;

/// The kinds of memory that tensors can be loaded to.
enum class DeviceKind : std::uint8_t {
  kHost,  ///< The processor's memory.
  kCuda,  ///< A GPU of NVIDIA's.
};

/// Names a device; a plain value.
struct DeviceId {
  DeviceKind kind = DeviceKind::kHost;  ///< Which kind of memory.
  int ordinal = 0;                      ///< The driver's number of the GPU; 0 on the host.

  /// Same kind and number.
  friend constexpr bool operator==(const DeviceId&, const DeviceId&) = default;
};

/// A device's memory, in bytes.
struct DeviceMemoryInfo {
  std::uint64_t free_bytes = 0;   ///< What is free now.
  std::uint64_t total_bytes = 0;  ///< What the device has.
};

/// A device that tensors can be loaded to. Cheap to copy: copies share the driver and its context. Threads: every
/// member may be called from any thread.
class WARPLOAD_API Device {
 public:
  /// The host's memory. Workers write to it directly, or map the files.
  [[nodiscard]] static Device host();

  /// The host's memory, reached as a GPU's would be: through slots and streams (which copy at once). For tests of code
  /// that will run with a GPU; host() is faster.
  [[nodiscard]] static Device host_through_slots();

  /// The GPU with that number. Opens the driver at once, its primary context (the one that CUDA's runtime and torch
  /// use) when it is first needed.
  ///
  /// @param ordinal as the driver counts, after CUDA_VISIBLE_DEVICES.
  /// @param library the driver's file, for dlopen.
  /// @throws DeviceError when there is no driver or no such GPU.
  [[nodiscard]] static Device cuda(int ordinal = 0, const std::string& library = "libcuda.so.1");

  /// Which device this is.
  [[nodiscard]] DeviceId id() const noexcept;

  /// "cpu", "cuda:0", ...
  [[nodiscard]] const std::string& name() const noexcept;

  /// Whether bytes get there through pinned slots; false for host() alone.
  [[nodiscard]] bool through_slots() const noexcept { return through_slots_; }

  /// Asks the device how much memory it has.
  ///
  /// @throws DeviceError
  [[nodiscard]] DeviceMemoryInfo memory() const;

  /// Copies `bytes` from the device's memory to the host's and waits for it.
  ///
  /// @throws DeviceError
  void read(const std::byte* source, std::byte* destination, std::uint64_t bytes) const;

  /// @cond the loader's own view
  [[nodiscard]] const std::shared_ptr<DeviceBackend>& backend() const noexcept { return backend_; }
  /// @endcond

 private:
  Device(std::shared_ptr<DeviceBackend> backend, bool through_slots) noexcept
      : backend_(std::move(backend)), through_slots_(through_slots) {}
  std::shared_ptr<DeviceBackend> backend_;
  bool through_slots_;
};

}  // namespace warpload
