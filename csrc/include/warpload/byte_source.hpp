/// @file
/// The seam between the loader and where bytes come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "warpload/export.h"

namespace warpload {

/// A fixed number of bytes that can be read at any offset: a file's, or those of a source of the caller's own
/// (Checkpoint::from_sources). A slow one only makes loads slow; one that fails makes them fail.
///
/// Threads: every member may be called from any number of threads at once.
class WARPLOAD_API ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// Name for error messages, normally the path as the user gave it.
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;

  /// Size in bytes when the source was opened.
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

  /// Fills `destination` with the bytes from `offset` on; a short read never passes as success.
  ///
  /// @throws IoError with the path, the byte range that is missing and errno when the read cannot be completed.
  virtual void read_exact(std::uint64_t offset, std::span<std::byte> destination) const = 0;
};

}  // namespace warpload
