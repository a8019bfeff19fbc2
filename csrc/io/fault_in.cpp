#include "io/fault_in.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace warpload {
namespace {

#if defined(MADV_POPULATE_READ)
constexpr int kPopulateRead = MADV_POPULATE_READ;
#else
constexpr int kPopulateRead = 22;  // Linux 5.14
#endif

}  // namespace

int fault_in(std::span<const std::byte> bytes) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t begin = first / page * page;
  const std::size_t length = first + bytes.size() - begin;
  return ::madvise(reinterpret_cast<void*>(begin), length, kPopulateRead) == 0 ? 0 : errno;
}

}  // namespace warpload
