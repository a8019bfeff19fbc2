/// @file
/// Memory of the caller's own that loads fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "warpload/device.hpp"
#include "warpload/export.h"

namespace warpload {

/// Bytes to which every tensor in an arena is aligned: smaller alignments cost kernels their fast paths.
inline constexpr std::uint64_t kTensorAlignment = 256;

/// A range of a device's memory that the caller brought. Loads take their segments from it, one behind the other:
///
///     | segment of the first load | segment of the second | ... free ... |
///     ^ both begin at multiples   ^
///       of 256 bytes
///
/// Nothing is ever taken twice: to use the memory again, once no load fills it and no tensor in it is wanted any more,
/// adopt it again.
///
/// Ownership: cheap to copy; copies share what is taken. The memory has to stay until the last load into it has ended
/// and the last tensor in it is gone. An `owner` is held until then and so sees to it.
///
/// Threads: every member may be called from any thread.
class WARPLOAD_API Arena {
 public:
  /// Adopts `bytes` of memory that begin at `pointer`, an address of `device` (for a GPU: one that its driver or
  /// runtime allocated). Loads to the host are written there directly, without slots.
  ///
  /// @param pointer the first byte, at a multiple of 256.
  /// @param bytes how many bytes there are.
  /// @param device the device that the address belongs to.
  /// @param owner released, on whatever thread, when neither an arena nor a tensor needs the memory any more.
  /// @throws InvalidArgumentError when `pointer` is no multiple of 256, or null although `bytes` is not 0.
  [[nodiscard]] static Arena adopt(void* pointer, std::uint64_t bytes, const Device& device,
                                   std::shared_ptr<void> owner = {});

  /// The device that the memory belongs to.
  [[nodiscard]] const Device& device() const noexcept;

  /// How many bytes were adopted.
  [[nodiscard]] std::uint64_t bytes() const noexcept;

  /// How many bytes have been taken, padding included.
  [[nodiscard]] std::uint64_t bytes_taken() const noexcept;

  /// Takes the next `bytes` and returns their address, a multiple of 256. Loader::start calls this for each segment.
  ///
  /// @throws OutOfMemoryError with the sizes when fewer bytes are left; nothing is taken then.
  [[nodiscard]] std::byte* take(std::uint64_t bytes) const;

  /// Releases the `bytes` that were taken at `begin`, so that the next call of take() begins there again. Returns
  /// false, and releases nothing, when more has been taken since. Loader::start calls this for the segments of a load
  /// that it could not start.
  bool release(const std::byte* begin, std::uint64_t bytes) const noexcept;

 private:
  struct WARPLOAD_HIDDEN State;
  explicit Arena(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
