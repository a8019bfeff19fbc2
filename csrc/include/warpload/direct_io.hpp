/// @file
/// How files are read: through the page cache or past it.
#pragma once

#include <cstdint>

namespace warpload {

/// How files are read. Bytes that are in the page cache are read fastest from there; all others are read faster past
/// it (by O_DIRECT).
enum class DirectIo : std::uint8_t {
  kAuto,    ///< Each range from where it is read fastest, by what the page cache holds of it.
  kNever,   ///< Always through the page cache.
  kAlways,  ///< Past the page cache wherever the file system allows; for tests and measurements.
};

}  // namespace warpload
