#include "io/residency.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace warpload {

Residency::~Residency() {
  if (const auto mapped = bytes(); !mapped.empty()) ::munmap(begin_.load(std::memory_order_relaxed), mapped.size());
}

// Without a lock, which a child after fork might find taken: of two threads that map at once, one unmaps again.
void Residency::map(int descriptor) const noexcept {
  if (tried()) return;
  const auto size = static_cast<std::size_t>(size_);
  void* address = size == 0 ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  std::byte* none = nullptr;
  const bool first = begin_.compare_exchange_strong(none, static_cast<std::byte*>(address), std::memory_order_acq_rel);
  if (!first && address != MAP_FAILED) ::munmap(address, size);
}

std::span<const std::byte> Residency::bytes() const noexcept {
  const std::byte* begin = begin_.load(std::memory_order_acquire);
  if (begin == nullptr || begin == MAP_FAILED) return {};
  return {begin, static_cast<std::size_t>(size_)};
}

PageCount Residency::count(ByteRange range) const {
  range.end = std::min(range.end, size_);
  if (range.begin >= range.end) return {};
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t first = range.begin / page_bytes;
  const std::uint64_t last = (range.end - 1) / page_bytes + 1;
  PageCount pages{.resident = 0, .total = last - first};

  std::byte* const begin = bytes().empty() ? nullptr : begin_.load(std::memory_order_relaxed);
  std::array<unsigned char, 1024> states;
  for (std::uint64_t page = first; page < last; page += states.size()) {
    const std::uint64_t asked = std::min<std::uint64_t>(last - page, states.size());
    const auto bytes = static_cast<std::size_t>(asked * page_bytes);
    if (begin == nullptr || ::mincore(begin + page * page_bytes, bytes, states.data()) != 0) {
      pages.resident += asked;
      continue;
    }
    // Only the lowest bit is defined.
    const auto end = states.begin() + static_cast<std::ptrdiff_t>(asked);
    pages.resident += static_cast<std::uint64_t>(
        std::count_if(states.begin(), end, [](unsigned char state) { return (state & 1U) != 0; }));
  }
  return pages;
}

PageCount Residency::sample(ByteRange range) const {
  constexpr std::uint64_t kStride = std::uint64_t{256} << 10;
  PageCount pages;
  for (std::uint64_t offset = range.begin; offset < range.end; offset += kStride) {
    const PageCount one = count({offset, offset + 1});
    pages.resident += one.resident;
    pages.total += one.total;
  }
  if (range.begin < range.end) {
    const PageCount last = count({range.end - 1, range.end});
    pages.resident += last.resident;
    pages.total += last.total;
  }
  return pages;
}

}  // namespace warpload
