/// @file
/// How bytes leave a file.
#pragma once

#include <cstdint>

namespace warpload {

/// How files are read. Bytes that are in the page cache come from there fastest; bytes that are not come faster past
/// it.
enum class DirectIo : std::uint8_t {
  kAuto,    ///< By what is in the page cache, range by range.
  kNever,   ///< Always through the page cache.
  kAlways,  ///< Past it wherever the file system allows, whatever it holds; for tests and measurements.
};

}  // namespace warpload
