/// @file
/// The whole C++ interface. The C interface is in warpload.h.
#pragma once

#include "warpload/arena.hpp"         // IWYU pragma: export
#include "warpload/block_type.hpp"    // IWYU pragma: export
#include "warpload/byte_source.hpp"   // IWYU pragma: export
#include "warpload/checkpoint.hpp"    // IWYU pragma: export
#include "warpload/device.hpp"        // IWYU pragma: export
#include "warpload/direct_io.hpp"     // IWYU pragma: export
#include "warpload/dlpack.hpp"        // IWYU pragma: export
#include "warpload/dtype.hpp"         // IWYU pragma: export
#include "warpload/error.hpp"         // IWYU pragma: export
#include "warpload/load_handle.hpp"   // IWYU pragma: export
#include "warpload/load_options.hpp"  // IWYU pragma: export
#include "warpload/loader.hpp"        // IWYU pragma: export
#include "warpload/populate.hpp"      // IWYU pragma: export
#include "warpload/tensor.hpp"        // IWYU pragma: export
#include "warpload/tensor_list.hpp"   // IWYU pragma: export
#include "warpload/trace.hpp"         // IWYU pragma: export
#include "warpload/version.h"         // IWYU pragma: export
