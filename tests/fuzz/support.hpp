// What the fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "warpload/error.hpp"

namespace warpload::fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

// A refusal must be explained: where, what, and what to do.
inline void check_error(const Error& error) {
  require(error.code() == ErrorCode::kFormat && !error.path().empty() && !error.reason().empty() &&
          !error.cure().empty());
  require(!error.range() || error.range()->begin <= error.range()->end);
}

// Whatever is not accepted has to be refused by such an error.
template <class Read>
void accepted_or_refused(Read&& read) {
  try {
    read();
  } catch (const Error& error) {
    check_error(error);
  }
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Choices made by the input; zeros when it is over.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) noexcept : bytes_(bytes) {}

  std::uint64_t byte() noexcept {
    if (bytes_.empty()) return 0;
    const std::uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }

  std::uint64_t below(std::uint64_t limit) noexcept { return byte() % limit; }

  // Near a power of two, or small.
  std::uint64_t number() noexcept {
    const std::uint64_t shape = byte();
    if (shape < 128) return shape % 9;
    return (std::uint64_t{1} << shape % 64) + byte() % 3 - 1;
  }

  [[nodiscard]] bool over() const noexcept { return bytes_.empty(); }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace warpload::fuzz
