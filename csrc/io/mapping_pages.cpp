#include "io/mapping_pages.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "io/ask_ahead.hpp"
#include "io/fault_in.hpp"

namespace warpload {
namespace {

// The address of the page that a byte is in.
std::byte* page_of(std::byte* byte) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  return byte - reinterpret_cast<std::uintptr_t>(byte) % page;
}

// Asks the system to read bytes into the page cache, and does not wait for it.
void will_need(std::span<std::byte> bytes) noexcept {
  std::byte* const first = page_of(bytes.data());
  ::madvise(first, static_cast<std::size_t>(bytes.data() + bytes.size() - first), MADV_WILLNEED);
}

bool page_is_resident(std::byte* byte) noexcept {
  unsigned char state = 0;
  return ::mincore(page_of(byte), 1, &state) != 0 || (state & 1U) != 0;  // only the lowest bit is defined
}

}  // namespace

MappingPages::MappingPages() noexcept : owner_(::getpid()) {}

void MappingPages::begin(std::span<std::byte> bytes) noexcept {
  const std::lock_guard lock(mutex_);
  bytes_ = bytes;
}

void MappingPages::end() noexcept {
  if (::getpid() != owner_) return;
  const std::lock_guard lock(mutex_);
  bytes_ = {};
}

std::span<std::byte> MappingPages::part(ByteRange range) const noexcept {
  const std::uint64_t end = std::min<std::uint64_t>(range.end, bytes_.size());
  if (range.begin >= end) return {};
  return bytes_.subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(end - range.begin));
}

bool MappingPages::is_resident(ByteRange range) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto bytes = part(range);
  return bytes.empty() || (page_is_resident(&bytes.front()) && page_is_resident(&bytes.back()));
}

bool MappingPages::is_backed(ByteRange range, const PageMap& pages) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto bytes = part(range);
  return !bytes.empty() && pages.is_backed(&bytes.front()) && pages.is_backed(&bytes.back());
}

void MappingPages::ask_ahead(ByteRange range) const noexcept {
  for (std::uint64_t begin = range.begin; begin < range.end; begin += kAskedAtOnce) {
    const std::lock_guard lock(mutex_);
    const auto bytes = part({begin, std::min(begin + kAskedAtOnce, range.end)});
    if (bytes.empty()) return;
    will_need(bytes);
  }
}

bool MappingPages::populate(ByteRange range) noexcept {
  const std::lock_guard lock(mutex_);
  const auto bytes = part(range);
  if (bytes.empty()) return false;
  const int fault = fault_in(bytes);
  if (fault != EINVAL) return fault == 0;
  will_need(bytes);
  return true;
}

}  // namespace warpload
