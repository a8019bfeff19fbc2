// Reads the values of a GGUF header one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "warpload/byte_source.hpp"
#include "warpload/error.hpp"

namespace warpload {

// What the header of a GGUF file is told of where it is wrong.
inline constexpr const char* kBadGgufCure =
    "the file is damaged or its writer is broken: download it again or convert the model again";

// The place in the header up to which it has been read. Every size is compared with the file's before memory is taken
// for it, so that no header costs more than the file has bytes. All functions throw FormatError where the file is over,
// and IoError where it cannot be read.
//
// Ownership: borrows the source. Threads: one at a time.
class GgufCursor {
 public:
  GgufCursor(const ByteSource& source, std::uint64_t begin) noexcept : source_(source), at_(begin) {}

  // Offset of the next byte in the file.
  [[nodiscard]] std::uint64_t at() const noexcept { return at_; }

  // How many bytes the file has from there on.
  [[nodiscard]] std::uint64_t left() const noexcept { return source_.size() - at_; }

  // The next number, which is little endian.
  template <class Number>
  [[nodiscard]] Number number() {
    Number value{};
    std::memcpy(&value, take(sizeof(Number)), sizeof(Number));
    return value;
  }

  // A number of things that follow, of at least `least_bytes` each. `what` is in the plural.
  [[nodiscard]] std::uint64_t count(const char* what, std::uint64_t least_bytes);

  // The next bytes. Precondition: the file has them.
  [[nodiscard]] std::string bytes(std::uint64_t length);

  // A string: its length, then its bytes. Longer ones than `longest` are refused.
  [[nodiscard]] std::string text(const char* what, std::uint64_t longest);

  // Passes over that many bytes. Precondition: the file has them.
  void skip(std::uint64_t bytes) noexcept { at_ += bytes; }

  // Throws the FormatError about the bytes from `begin` to here, or about one byte.
  [[noreturn]] void refuse(std::string reason, std::uint64_t begin, std::string tensor = {},
                           std::string cure = kBadGgufCure) const;

 private:
  [[nodiscard]] const std::byte* take(std::size_t bytes);
  [[noreturn]] void refuse_cut(std::uint64_t bytes) const;

  const ByteSource& source_;
  std::uint64_t at_;
  std::vector<std::byte> buffer_;
  std::uint64_t buffer_begin_ = 0;  // in the file
};

}  // namespace warpload
