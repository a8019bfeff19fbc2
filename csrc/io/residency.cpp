#include "io/residency.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace warpload {

Residency::~Residency() {
  if (begin_ != nullptr) ::munmap(begin_, static_cast<std::size_t>(size_));
}

void Residency::map() const noexcept {
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ, MAP_SHARED, descriptor_, 0);
  if (address != MAP_FAILED) begin_ = static_cast<std::byte*>(address);
}

PageCount Residency::count(ByteRange range) const {
  range.end = std::min(range.end, size_);
  if (range.begin >= range.end) return {};
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t first = range.begin / page_bytes;
  const std::uint64_t last = (range.end - 1) / page_bytes + 1;
  PageCount pages{.resident = 0, .total = last - first};

  std::call_once(mapped_, [this] { map(); });
  std::array<unsigned char, 1024> states;
  for (std::uint64_t page = first; page < last; page += states.size()) {
    const std::uint64_t asked = std::min<std::uint64_t>(last - page, states.size());
    const auto bytes = static_cast<std::size_t>(asked * page_bytes);
    if (begin_ == nullptr || ::mincore(begin_ + page * page_bytes, bytes, states.data()) != 0) {
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
