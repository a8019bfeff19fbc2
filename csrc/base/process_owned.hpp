// Objects that only the process which made them may destroy.
#pragma once

#include <unistd.h>

#include <memory>

namespace warpload {

// A child after fork has none of its parent's threads and must not touch the parent's driver: joining would hang there,
// so in a child the object is left behind.
template <class Owned>
[[nodiscard]] std::shared_ptr<Owned> owned_by_this_process(Owned* owned) {
  return {owned, [owner = ::getpid()](Owned* pointer) {
            if (::getpid() == owner) delete pointer;
          }};
}

}  // namespace warpload
