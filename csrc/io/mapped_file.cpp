#include "io/mapped_file.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "warpload/error.hpp"

namespace warpload {
namespace {

// The size is asked for again: pages of a mapping that lie beyond the file's end raise SIGBUS when touched.
void check_size_unchanged(const File& file, int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) {
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

// Maps the file where it is still to be had by a descriptor. Otherwise makes memory that its bytes are to be copied to,
// as a mapping that others may not see written to cannot be had of another mapping.
void* map_private(const File& file, int descriptor) {
  // MAP_NORESERVE: a private writable mapping counts against the commit limit in full although hardly any
  // page is ever written; without it a checkpoint larger than free memory and swap could not be mapped.
  const int flags = MAP_PRIVATE | MAP_NORESERVE | (descriptor < 0 ? MAP_ANONYMOUS : 0);
  void* address = ::mmap(nullptr, static_cast<std::size_t>(file.size()), PROT_READ | PROT_WRITE, flags, descriptor, 0);
  if (address != MAP_FAILED) return address;
  const int system_error = errno;
  throw IoError({.reason = "the file cannot be mapped into memory",
                 .path = file.path(),
                 .range = ByteRange{0, file.size()},
                 .system_error = system_error,
                 .cure = "raise the limits on address space (ulimit -v) and mappings (vm.max_map_count)"});
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::map(const File& file) {
  const OpenFiles::Lease open = file.lease();
  if (open) check_size_unchanged(file, open->descriptor());
  // Made before the mapping, so that no failed allocation can leak one.
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  const auto size = static_cast<std::size_t>(file.size());
  if (size == 0) return mapped;  // mmap() refuses a length of 0

  mapped->bytes_ = {static_cast<std::byte*>(map_private(file, open ? open->descriptor() : -1)), size};
  if (!open) file.read_exact(open, 0, mapped->bytes_);
  mapped->pages_->begin(mapped->bytes_);
  return mapped;
}

MappedFile::~MappedFile() {
  pages_->end();
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace warpload
