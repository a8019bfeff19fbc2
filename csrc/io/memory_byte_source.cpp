#include "io/memory_byte_source.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "warpload/error.hpp"

namespace warpload {
namespace {

#if defined(MADV_POPULATE_READ)
constexpr int kPopulateRead = MADV_POPULATE_READ;
#else
constexpr int kPopulateRead = 22;  // Linux 5.14; older kernels answer EINVAL, and the copy faults the pages in
#endif

// 0, or the errno that says why the pages cannot be had.
int fault_in(std::span<const std::byte> bytes) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t begin = first / page * page;
  const std::size_t length = first + bytes.size() - begin;
  if (::madvise(reinterpret_cast<void*>(begin), length, kPopulateRead) == 0) return 0;
  return errno == EFAULT || errno == EHWPOISON ? errno : 0;
}

}  // namespace

void MemoryByteSource::read_exact(std::uint64_t offset, std::span<std::byte> destination) const {
  if (destination.empty()) return;
  const ByteRange range{offset, offset + destination.size()};
  if (offset > bytes_.size() || destination.size() > bytes_.size() - offset) {
    throw IoError({.reason = "the read goes beyond the end of the memory", .path = name_, .range = range});
  }
  const auto source = bytes_.subspan(offset, destination.size());
  if (const int system_error = fault_in(source); system_error != 0) {
    throw IoError({.reason = "the memory cannot be read: it maps a file that has become shorter",
                   .path = name_,
                   .range = range,
                   .system_error = system_error,
                   .cure = "do not write to a checkpoint that is in use; load it again"});
  }
  std::memcpy(destination.data(), source.data(), source.size());
}

}  // namespace warpload
