// Plans of requests, made as a load makes them but for who casts: the rules say so.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "load/tensor_choice.hpp"
#include "plan/load_plan.hpp"

namespace warpload::testing {

// `rules` says how each request's segment is filled; empty means straight into the arena for all.
inline LoadPlan plan_of(std::span<const SegmentRequest> requests, const PlanLimits& limits = {},
                        std::span<const FillRules> rules = {}) {
  std::vector<SegmentInput> inputs;
  for (std::size_t index = 0; index < requests.size(); ++index) {
    inputs.push_back({choose_tensors(requests[index]), rules.empty() ? FillRules{} : rules[index]});
  }
  return make_load_plan(inputs, limits);
}

// Every cast that is to be had, on the device.
inline DeviceCastTable all_pairs() {
  DeviceCastTable table;
  for (int source = 0; source < kDTypeCount; ++source) {
    for (int destination = 0; destination < kDTypeCount; ++destination) {
      const DTypePair pair{static_cast<DType>(source), static_cast<DType>(destination)};
      if (is_cast_supported(pair.source, pair.destination)) table.insert(pair);
    }
  }
  return table;
}

}  // namespace warpload::testing
