#include "device/host_arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
constexpr std::uint64_t kSmallestRelease = std::uint64_t{2} << 20;

std::uintptr_t round_up(std::uintptr_t value, std::uintptr_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

[[noreturn]] void throw_out_of_memory(std::uint64_t bytes, int system_error) {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  throw OutOfMemoryError({.reason = "an arena of " + std::to_string(bytes) +
                                    " bytes could not be reserved; this machine has " + std::to_string(pages * page) +
                                    " bytes of memory",
                          .system_error = system_error,
                          .cure = "load fewer components at once, or in a smaller dtype"});
}

// Maps `bytes` of anonymous memory that begin at a huge page's boundary.
std::byte* map_aligned(std::uint64_t bytes) {
  void* mapped = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw_out_of_memory(bytes, errno);
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
  const std::uintptr_t aligned = round_up(begin, kHugePage);
  const std::uintptr_t tail = begin + bytes + kHugePage - (aligned + bytes);
  if (aligned != begin) ::munmap(mapped, aligned - begin);
  if (tail != 0) ::munmap(reinterpret_cast<void*>(aligned + bytes), tail);
  // A hint: where huge pages are switched off for the machine, small ones work too.
  ::madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);
  return reinterpret_cast<std::byte*>(aligned);
}

}  // namespace

HostSegment::~HostSegment() { ::munmap(data(), round_up(bytes(), kHugePage)); }

void HostSegment::release(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  if (bytes < kSmallestRelease) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(data()) + offset;
  const std::uintptr_t begin = round_up(first, page);
  const std::uintptr_t end = (first + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::vector<std::shared_ptr<Segment>> reserve_host_arena(std::span<const std::uint64_t> segment_bytes) {
  std::uint64_t total = 0;
  for (const std::uint64_t bytes : segment_bytes) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
    if (bytes > kMost || (total += round_up(bytes, kHugePage)) > kMost) throw_out_of_memory(total, ENOMEM);
  }
  std::vector<std::shared_ptr<Segment>> segments(segment_bytes.size());
  if (total == 0) return segments;
  std::byte* next = map_aligned(total);
  std::byte* const end = next + total;
  try {
    for (std::size_t index = 0; index < segment_bytes.size(); ++index) {
      if (segment_bytes[index] == 0) continue;
      segments[index] = std::make_shared<HostSegment>(next, segment_bytes[index]);
      next += round_up(segment_bytes[index], kHugePage);
    }
  } catch (...) {
    ::munmap(next, static_cast<std::size_t>(end - next));  // the rest goes with the segments made so far
    throw;
  }
  return segments;
}

}  // namespace warpload
