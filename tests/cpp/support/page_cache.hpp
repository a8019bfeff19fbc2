// Files on a disk, and what of them is in the page cache.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace warpload::testing {

// Takes a range of pages out of the page cache (a size of 0 means up to the file's end). False where the file system
// keeps them, as one that lives in memory does.
inline bool evict(const std::filesystem::path& path, std::size_t offset = 0, std::size_t size = 0) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw std::runtime_error("cannot open " + path.string());
  if (size == 0) size = std::filesystem::file_size(path) - offset;
  ::fsync(descriptor);
  ::posix_fadvise(descriptor, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, static_cast<off_t>(offset));
  ::close(descriptor);
  if (address == MAP_FAILED) throw std::runtime_error("cannot map " + path.string());
  std::vector<unsigned char> pages((size + 4095) / 4096);
  const bool asked = ::mincore(address, size, pages.data()) == 0;
  ::munmap(address, size);
  if (!asked) return false;
  for (const unsigned char page : pages) {
    if ((page & 1U) != 0) return false;
  }
  return true;
}

}  // namespace warpload::testing
