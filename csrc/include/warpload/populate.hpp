/// @file
/// What becomes of views before they are used.
#pragma once

#include <cstdint>

namespace warpload {

/// Whether the pages of views are backed in the background once their load is done, by one thread of the loader's, so
/// that their first use takes no page faults. Tensors of which this is true are views of their files, and no memory is
/// taken but for page tables.
enum class Populate : std::uint8_t {
  kAuto,    ///< In the order of the load's requests; what is not in the page cache is read ahead as far as half of the
            ///< memory goes that is available then.
  kNever,   ///< Pages are backed, and read, when a view is used.
  kAlways,  ///< As kAuto, but everything is read ahead.
};

}  // namespace warpload
