// How fast something goes at its best.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace warpload {

// Bytes a second of the fastest of a few runs of `work`: whatever else the machine does can only slow one down.
template <class Work>
[[nodiscard]] double best_rate(std::size_t bytes, const Work& work) {
  constexpr int kRuns = 3;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    best = std::max(best, static_cast<double>(bytes) / std::max(elapsed.count(), 1e-9));
  }
  return best;
}

}  // namespace warpload
