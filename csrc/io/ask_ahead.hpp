// The system's own read-ahead, asked for.
#pragma once

#include "warpload/error.hpp"

namespace warpload {

// Asks the system to read a part of a file into the page cache, and does not wait for it. A system that is asked for
// much at once reads no more of it than one request of the disk holds, or its own window (128 KiB, where nobody has set
// another one), and forgets the rest. So it is asked in pieces of that size.
void ask_ahead(int descriptor, ByteRange range) noexcept;

}  // namespace warpload
