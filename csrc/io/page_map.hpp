// Which pages of this process's memory are backed.
#pragma once

#include <cstddef>

#include "base/unique_fd.hpp"

namespace warpload {

// Reads /proc/self/pagemap. Where it cannot be had no page counts as backed.
//
// Threads: any. Holds a descriptor.
class PageMap {
 public:
  PageMap() noexcept;

  // True when the page that has this byte is backed: touching it takes no page fault.
  [[nodiscard]] bool is_backed(const std::byte* byte) const noexcept;

 private:
  UniqueFd file_;
};

}  // namespace warpload
