/// @file
/// Devices: the kinds of memory that tensors can be loaded to.
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

/// The name of a device: a plain value.
struct DeviceId {
  DeviceKind kind = DeviceKind::kHost;  ///< The kind of memory.
  int ordinal = 0;                      ///< The driver's number of the GPU; 0 on the host.

  /// True when kind and number are the same.
  friend constexpr bool operator==(const DeviceId&, const DeviceId&) = default;
};

/// How much memory a device has, in bytes.
struct DeviceMemoryInfo {
  std::uint64_t free_bytes = 0;   ///< The bytes that are free now.
  std::uint64_t total_bytes = 0;  ///< All bytes that the device has.
};

/// A device that tensors can be loaded to.
///
/// Ownership: cheap to copy; copies share the driver and its context. Threads: every member may be called
/// from any thread.
class WARPLOAD_API Device {
 public:
  /// The host's memory. Workers write to it directly, or tensors are views of mapped files.
  [[nodiscard]] static Device host();

  /// The host's memory, reached as a GPU's is: through pinned slots and streams, which copy at once. It is meant for
  /// tests of code that will run with a GPU; host() is faster.
  [[nodiscard]] static Device host_through_slots();

  /// The GPU with that number. Opens the driver at once, and its primary context (the one that CUDA's runtime and torch
  /// use) when that is first needed.
  ///
  /// @param ordinal the GPU's number as the driver counts, after CUDA_VISIBLE_DEVICES.
  /// @param library the driver's file, as dlopen takes it.
  /// @throws DeviceError when there is no driver or no such GPU.
  [[nodiscard]] static Device cuda(int ordinal = 0, const std::string& library = "libcuda.so.1");

  /// The kind and the number of this device.
  [[nodiscard]] DeviceId id() const noexcept;

  /// The device's name as torch writes it: "cpu", "cuda:0" and so on.
  [[nodiscard]] const std::string& name() const noexcept;

  /// Whether bytes get there through pinned slots; false for host() alone.
  [[nodiscard]] bool through_slots() const noexcept { return through_slots_; }

  /// Asks the device how much memory it has, and how much of it is free.
  ///
  /// @throws DeviceError when the driver reports an error.
  [[nodiscard]] DeviceMemoryInfo memory() const;

  /// Copies `bytes` from `source`, an address of the device, to `destination`, an address of the host, and returns when
  /// they are there.
  ///
  /// @throws DeviceError when the driver reports an error.
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
