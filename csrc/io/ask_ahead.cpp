#include "io/ask_ahead.hpp"

#include <fcntl.h>

#include <algorithm>

namespace warpload {

void ask_ahead(int descriptor, ByteRange range) noexcept {
  for (std::uint64_t begin = range.begin; begin < range.end; begin += kAskedAtOnce) {
    const std::uint64_t size = std::min(kAskedAtOnce, range.end - begin);
    ::posix_fadvise(descriptor, static_cast<off_t>(begin), static_cast<off_t>(size), POSIX_FADV_WILLNEED);
  }
}

}  // namespace warpload
