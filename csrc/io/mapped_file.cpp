#include "io/mapped_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "warpload/error.hpp"

namespace warpload {
namespace {

// The size is asked for again: pages of a mapping that lie beyond the file's end raise SIGBUS when touched.
void check_size_unchanged(const File& file) {
  struct stat status{};
  if (::fstat(file.descriptor(), &status) != 0) {
    const int system_error = errno;
    throw IoError({.reason = "the file cannot be examined", .path = file.path(), .system_error = system_error});
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size == file.size()) return;
  const ByteRange changed = size < file.size() ? ByteRange{size, file.size()} : ByteRange{file.size(), size};
  throw IoError({.reason = "the file's size changed from " + std::to_string(file.size()) + " to " +
                           std::to_string(size) + " bytes since it was opened",
                 .path = file.path(),
                 .range = changed,
                 .cure = "do not write to a checkpoint while it is being loaded; load it again"});
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::map(const File& file) {
  check_size_unchanged(file);
  // Made before the mapping, so that no failed allocation can leak one.
  std::shared_ptr<MappedFile> mapped(new MappedFile({}));
  const auto size = static_cast<std::size_t>(file.size());
  if (size == 0) return mapped;  // mmap() refuses a length of 0

  // MAP_NORESERVE: a private writable mapping counts against the commit limit in full although hardly any
  // page is ever written; without it a checkpoint larger than free memory and swap could not be mapped.
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor(), 0);
  if (address == MAP_FAILED) {
    const int system_error = errno;
    throw IoError({.reason = "the file cannot be mapped into memory",
                   .path = file.path(),
                   .range = ByteRange{0, file.size()},
                   .system_error = system_error,
                   .cure = "raise the limits on address space (ulimit -v) and mappings (vm.max_map_count)"});
  }
  mapped->bytes_ = {static_cast<std::byte*>(address), size};
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace warpload
