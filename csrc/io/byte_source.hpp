// The seam between the loader and the file system: everything that is read positionally.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace warpload {

// A fixed number of bytes that can be read at any offset. `File` is the real one; tests put slow, failing and
// shrinking sources in its place.
//
// Threads: every member may be called from any number of threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Name for error messages, normally the path as the user gave it.
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;

  // Size in bytes when the source was opened.
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

  // Fills `destination` with the bytes from `offset` on. A read that cannot be completed throws IoError with the
  // path, the byte range that is missing and errno; a short read never passes as success.
  virtual void read_exact(std::uint64_t offset, std::span<std::byte> destination) const = 0;
};

}  // namespace warpload
