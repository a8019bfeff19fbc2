// A private, writable mapping of a whole file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "io/file.hpp"
#include "io/mapping_pages.hpp"

namespace warpload {

// Copy-on-write view of a file: tensors that point into it may be written, the file never changes. Nothing is read
// before it is touched. If another process truncates the file, touching a page past its new end raises SIGBUS, as it
// does for every mapping of every library; the loader itself therefore never reads through one. (A file that is gone
// and has no descriptor left is copied: see File.)
//
// Ownership: shared by all tensors that point into it; unmapped with the last of them. Threads: immutable.
class MappedFile {
 public:
  // Throws IoError when the file has shrunk since it was opened or cannot be mapped. An empty file gives
  // an empty span.
  [[nodiscard]] static std::shared_ptr<const MappedFile> map(const File& file);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

  // For whoever has pages backed ahead; may outlive the mapping, and does not keep it.
  [[nodiscard]] const std::shared_ptr<MappingPages>& pages() const noexcept { return pages_; }

 private:
  MappedFile() = default;

  std::span<std::byte> bytes_;
  std::shared_ptr<MappingPages> pages_ = std::make_shared<MappingPages>();
};

}  // namespace warpload
