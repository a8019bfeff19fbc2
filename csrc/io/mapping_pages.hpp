// The pages of one mapping, for whoever has them backed ahead of use, on a thread of its own.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <mutex>
#include <span>

#include "io/page_map.hpp"
#include "warpload/error.hpp"

namespace warpload {

// Does not own the mapping: it may go at any time, and whoever unmaps it calls end() before.
//
// Threads: any. In a child after fork, which has none of the threads that have pages backed, end() does nothing, as
// the lock may be held for good there, and no other member may be called.
class MappingPages {
 public:
  MappingPages() noexcept;
  MappingPages(const MappingPages&) = delete;
  MappingPages& operator=(const MappingPages&) = delete;

  void begin(std::span<std::byte> bytes) noexcept;

  // Waits for a populate that is under way. Afterwards the mapping is not touched any more.
  void end() noexcept;

  // True when the bytes' pages are in the page cache, by a look at the first and the last of them.
  [[nodiscard]] bool is_resident(ByteRange range) const noexcept;

  // True when somebody has touched the bytes, by a look at the first page and the last.
  [[nodiscard]] bool is_backed(ByteRange range, const PageMap& pages) const noexcept;

  // Asks the system to read these bytes into the page cache, and does not wait for it.
  void ask_ahead(ByteRange range) const noexcept;

  // Has the pages of these bytes backed, as reading them would; reads them from the file where the page cache has not
  // got them. False when there is nothing more to be had: the mapping has gone, or the file has become shorter. A
  // kernel that does not know how (before Linux 5.14) is asked to read ahead.
  [[nodiscard]] bool populate(ByteRange range) noexcept;

 private:
  [[nodiscard]] std::span<std::byte> part(ByteRange range) const noexcept;

  const pid_t owner_;
  mutable std::mutex mutex_;
  std::span<std::byte> bytes_;  // empty before begin() and after end()
};

}  // namespace warpload
