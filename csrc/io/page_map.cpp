#include "io/page_map.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>

namespace warpload {

PageMap::PageMap() noexcept : file_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}

bool PageMap::is_backed(const std::byte* byte) const noexcept {
  if (!file_) return false;
  constexpr unsigned kPresent = 63;  // bit of an entry
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t entry = 0;
  const auto offset = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(byte) / page * sizeof(entry));
  if (::pread(file_.get(), &entry, sizeof(entry), offset) != sizeof(entry)) return false;
  return (entry >> kPresent) != 0;
}

}  // namespace warpload
