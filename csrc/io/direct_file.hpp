// Reads of a file past the page cache (O_DIRECT).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "base/unique_fd.hpp"

namespace warpload {

// The system calls behind a DirectFile, so that tests can refuse, interrupt and cut them short. As open(2) and
// pread(2); empty ones are the system's own.
struct DirectCalls {
  std::function<int(const char* path, int flags)> open = {};
  std::function<ssize_t(int descriptor, void* memory, std::size_t size, off_t offset)> pread = {};
};

// A second, O_DIRECT descriptor of a file that is open already: of that very file, even if its path leads to another by
// now. Opened by the first call that needs it.
//
// Nothing here throws: a file system that does not take such reads says so once, after which possible() is false; any
// other trouble ends a read early. In both cases the caller reads the rest through the page cache, which finds the
// bytes or words the error.
//
// Ownership: borrows the first descriptor, which must outlive it. Threads: any.
class DirectFile {
 public:
  // Of the memory that bytes are read to; also the greatest block() that is supported.
  static constexpr std::size_t kMemoryAlignment = std::size_t{64} << 10;

  DirectFile(int descriptor, std::uint64_t size, DirectCalls calls);

  // False once the file system has refused.
  [[nodiscard]] bool possible() const;

  // Offsets and sizes of reads are multiples of it; a divisor of kMemoryAlignment. Meaningful while possible().
  [[nodiscard]] std::size_t block() const noexcept { return block_; }

  // Fills `destination`, aligned to kMemoryAlignment, with the blocks from `offset` on. Returns the number of bytes
  // that are valid, from the begin of `destination`: all, or up to the end that the file had when it was opened; fewer
  // when the file has shrunk, the read failed, or direct reads are not possible.
  [[nodiscard]] std::size_t read(std::uint64_t offset, std::span<std::byte> destination) const;

 private:
  void open() const;
  [[nodiscard]] std::optional<std::size_t> find_block() const noexcept;

  int descriptor_;
  std::uint64_t size_;
  DirectCalls calls_;
  mutable std::once_flag opened_;
  mutable UniqueFd direct_;
  mutable std::size_t block_;
  mutable std::atomic<bool> refused_ = false;
};

}  // namespace warpload
