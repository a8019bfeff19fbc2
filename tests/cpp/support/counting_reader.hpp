// Reads ranges as a load's workers do, and counts by what the reader gives which way it chose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "io/range_reader.hpp"

namespace warpload::testing {

class CountingReader {
 public:
  explicit CountingReader(DirectIo mode) noexcept : reader_(mode) {}

  // By way of the reader's buffer, or plainly where the reader declines.
  std::string read(const File& file, ByteRange range, std::uint64_t lookahead_end) {
    std::string text(range.size(), '?');
    if (const auto bytes = reader_.view(file, range, lookahead_end); !bytes.empty()) {
      std::memcpy(text.data(), bytes.data(), bytes.size());
      note_window(file, bytes.data() - range.begin);
    } else {
      reader_.read_plainly(file, &file, range, std::as_writable_bytes(std::span(text)));
      ++plain_reads_;
    }
    return text;
  }

  [[nodiscard]] std::size_t plain_reads() const noexcept { return plain_reads_; }        // straight into memory
  [[nodiscard]] std::size_t direct_windows() const noexcept { return direct_windows_; }  // past the page cache
  [[nodiscard]] std::size_t cold_windows() const noexcept { return cold_windows_; }      // where there is no other way

 private:
  // All ranges of one window lie at the same distance from their offsets in the file.
  void note_window(const File& file, const std::byte* origin) {
    if (file_ == &file && origin_ == origin) return;
    file_ = &file;
    origin_ = origin;
    const OpenFiles::Lease lease = file.lease();  // null where the file is closed for good: a mapping has its bytes
    ++(lease && lease->direct().possible() ? direct_windows_ : cold_windows_);
  }

  RangeReader reader_;
  const File* file_ = nullptr;
  const std::byte* origin_ = nullptr;
  std::size_t plain_reads_ = 0;
  std::size_t direct_windows_ = 0;
  std::size_t cold_windows_ = 0;
};

}  // namespace warpload::testing
