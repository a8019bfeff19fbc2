#include "io/memory_byte_source.hpp"

#include <cerrno>
#include <cstring>

#include "io/fault_in.hpp"
#include "warpload/error.hpp"

namespace warpload {
void MemoryByteSource::read_exact(std::uint64_t offset, std::span<std::byte> destination) const {
  if (destination.empty()) return;
  const ByteRange range{offset, offset + destination.size()};
  if (offset > bytes_.size() || destination.size() > bytes_.size() - offset) {
    throw IoError({.reason = "the read goes beyond the end of the memory", .path = name_, .range = range});
  }
  const auto source = bytes_.subspan(offset, destination.size());
  // With kernels that cannot tell, the copy faults the pages in.
  if (const int system_error = fault_in(source); system_error == EFAULT || system_error == EHWPOISON) {
    throw IoError({.reason = "the memory cannot be read: it maps a file that has become shorter",
                   .path = name_,
                   .range = range,
                   .system_error = system_error,
                   .cure = "do not write to a checkpoint that is in use; load it again"});
  }
  std::memcpy(destination.data(), source.data(), source.size());
}

}  // namespace warpload
