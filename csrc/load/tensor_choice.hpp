// Which tensors of a checkpoint a request loads, and as what: asked of the request and of its filter before a
// plan is made.
#pragma once

#include <vector>

#include "plan/plan_input.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

// The request's tensors in the checkpoint's order. Asks the request's filter once about each tensor that `only` names,
// and lets pass what the filter throws. The result points into the request's checkpoint.
//
// Throws InvalidArgumentError for a missing checkpoint, for a name in `only` or `tensor_dtypes` that the checkpoint
// lacks, and for a cast that is not supported.
[[nodiscard]] std::vector<ChosenTensor> choose_tensors(const SegmentRequest& request);

}  // namespace warpload
