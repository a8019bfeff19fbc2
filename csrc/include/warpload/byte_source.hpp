/// @file
/// The interface between the loader and where bytes come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "warpload/export.h"

namespace warpload {

/// A fixed number of bytes that can be read at any offset: a file's, or those of a source of the caller's own
/// (Checkpoint::from_sources). A slow source only makes loads slow; a source that throws makes them fail with
/// what it throws.
///
/// Threads: every member may be called from any number of threads at once.
class WARPLOAD_API ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// The source's name in error messages, normally the path as the user gave it.
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;

  /// The size in bytes that the source had when it was opened.
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

  /// Fills all of `destination` with the source's bytes from `offset` on. Where there are fewer, that is an error.
  ///
  /// @throws IoError with the path, the byte range that could not be read, and errno.
  virtual void read_exact(std::uint64_t offset, std::span<std::byte> destination) const = 0;
};

}  // namespace warpload
