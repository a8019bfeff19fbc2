// The system's own read-ahead, asked for.
#pragma once

#include <cstdint>

#include "warpload/error.hpp"

namespace warpload {

// A system that is asked for much at once reads no more of it than one request of the disk holds, or its own window
// (128 KiB, where nobody has set another one), and forgets the rest. So it is asked in pieces of that size.
constexpr std::uint64_t kAskedAtOnce = std::uint64_t{128} << 10;

// Asks the system to read a part of a file into the page cache, and does not wait for it.
void ask_ahead(int descriptor, ByteRange range) noexcept;

}  // namespace warpload
