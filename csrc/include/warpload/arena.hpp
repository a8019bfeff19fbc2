/// @file
/// Memory of the caller's own that loads fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "warpload/device.hpp"
#include "warpload/export.h"

namespace warpload {

/// A piece of a device's memory that the caller brought. Loads take their segments from it, one behind the other:
///
///     | segment of the first load | segment of the second | ... free ... |
///     ^ a multiple of 256 bytes   ^ likewise
///
/// Nothing is ever taken twice: to use the memory again, once no load fills it and no tensor in it is wanted any more,
/// adopt it again.
///
/// Ownership: cheap to copy, copies share what is taken. The memory has to stay until the last load into it has ended
/// and the last tensor in it is gone; with an `owner` that takes care of itself. Threads: every member may be called
/// from any thread.
class WARPLOAD_API Arena {
 public:
  /// Adopts `bytes` of memory that begin at `pointer`, an address of `device` (for a GPU: one that its driver or
  /// runtime allocated). Loads to the host are written there directly, without slots.
  ///
  /// @param owner dropped, on whatever thread, when neither an arena nor a tensor needs the memory any more.
  /// @throws InvalidArgumentError when `pointer` is null or no multiple of 256.
  [[nodiscard]] static Arena adopt(void* pointer, std::uint64_t bytes, const Device& device,
                                   std::shared_ptr<void> owner = {});

  /// Where the memory is.
  [[nodiscard]] const Device& device() const noexcept;

  /// How much was adopted.
  [[nodiscard]] std::uint64_t bytes() const noexcept;

  /// How much of it has been taken, padding included.
  [[nodiscard]] std::uint64_t bytes_taken() const noexcept;

  /// Takes the next `bytes`, beginning at a multiple of 256. Loader::start does so for each segment; what a load took
  /// that then failed is not given back.
  ///
  /// @throws OutOfMemoryError with the sizes when that much is not left; nothing is taken then.
  [[nodiscard]] std::byte* take(std::uint64_t bytes) const;

 private:
  struct WARPLOAD_HIDDEN State;
  explicit Arena(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
