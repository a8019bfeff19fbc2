// Everything that is public.
#pragma once

#include "warpload/checkpoint.hpp"  // IWYU pragma: export
#include "warpload/device.hpp"      // IWYU pragma: export
#include "warpload/direct_io.hpp"   // IWYU pragma: export
#include "warpload/dtype.hpp"       // IWYU pragma: export
#include "warpload/error.hpp"       // IWYU pragma: export
#include "warpload/loader.hpp"      // IWYU pragma: export
#include "warpload/tensor.hpp"      // IWYU pragma: export
