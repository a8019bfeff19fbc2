// Chooses, range by range, how a file is read: by way of the page cache where the bytes are there, past it where not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "io/file.hpp"
#include "warpload/byte_source.hpp"
#include "warpload/direct_io.hpp"
#include "warpload/error.hpp"

namespace warpload {

// One worker's reader. Ranges that are mostly in the page cache, and all of a source that is no file, are read plainly.
// For others it reads a window ahead into a buffer of its own and serves this range and those that follow from there.
//
// Errors are those of ByteSource::read_exact for the range that was asked for, whatever the way and the window.
//
// Ownership: the sources must outlive the reader, which holds the last file that it read from open. Threads: one worker
// at a time.
class RangeReader {
 public:
  // The most that is read ahead at once. Measured loads of 1 to 8 MiB do not differ by more than they vary.
  static constexpr std::size_t kWindowBytes = std::size_t{2} << 20;

  explicit RangeReader(DirectIo mode) noexcept : mode_(mode) {}

  // The range's bytes in the reader's buffer, valid until the next call; empty when the range is better read plainly.
  // The caller means to ask for ranges up to `lookahead_end` next; nothing beyond it is read, but to fill a block.
  [[nodiscard]] std::span<const std::byte> view(const File& file, ByteRange range, std::uint64_t lookahead_end);

  // Reads a range that is not in the page cache straight into `memory`, which begins at a multiple of
  // DirectFile::kMemoryAlignment and has room for a block more at either end. Returns where in it the range begins;
  // nothing when the range is better read another way.
  [[nodiscard]] std::optional<std::size_t> read_straight(const File& file, ByteRange range,
                                                         std::span<std::byte> memory);

  // How often bytes had to be fetched: past the page cache, or into it as they were not there.
  [[nodiscard]] std::uint64_t fetches() const noexcept { return fetches_; }

  // Fills `destination`, of the range's size, without the buffer: for a range that view() has declined, and for sources
  // that are no files. `file` is `source` where that is a file, else nullptr.
  void read_plainly(const ByteSource& source, const File* file, ByteRange range, std::span<std::byte> destination);

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };
  // Bytes of a file; an empty range is no bytes.
  struct Span {
    const File* file = nullptr;
    ByteRange range = {};
    [[nodiscard]] bool covers(const File& other, ByteRange wanted) const noexcept {
      return file == &other && range.begin <= wanted.begin && wanted.end <= range.end;
    }
  };

  [[nodiscard]] const OpenFiles::Lease& lease_of(const File& file);
  [[nodiscard]] const DirectFile* direct_of(const File& file);
  [[nodiscard]] bool is_hot(const File& file, ByteRange window) const;
  void fill(const File& file, ByteRange window);
  [[nodiscard]] bool fill_directly(const File& file, ByteRange window);
  void fill_through_cache(const File& file, ByteRange window);

  DirectIo mode_;
  std::uint64_t fetches_ = 0;
  const File* leased_ = nullptr;             // of which lease_ is
  OpenFiles::Lease lease_;                   // of the last file, so that it stays open from one range to the next
  std::unique_ptr<std::byte, Free> buffer_;  // allocated when something is cold
  Span window_;                              // what the buffer holds
  std::uint64_t buffer_begin_ = 0;           // offset in the file of the buffer's first byte
  Span hot_;                                 // found to be in the page cache: not asked for again
};

}  // namespace warpload
