// Errors as values, so that a test can look at every part of them.
#pragma once

#include <functional>
#include <stdexcept>
#include <utility>

namespace warpload::testing {

// Runs `function` and returns the Exception it throws. Throws std::logic_error, which fails the test, when it
// returns; any other exception passes through, which fails the test too.
template <class Exception, class Function>
Exception catch_error(Function&& function) {
  try {
    std::invoke(std::forward<Function>(function));
  } catch (const Exception& error) {
    return error;
  }
  throw std::logic_error("nothing was thrown");
}

}  // namespace warpload::testing
