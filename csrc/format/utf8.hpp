// UTF-8: where a text is none, and how a character is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warpload {

// True for the second and later bytes of a character.
[[nodiscard]] constexpr bool is_utf8_continuation(char byte) noexcept {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Offset of the first byte that is not UTF-8 (shortest forms only, no surrogates); the size when there is none.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view text) noexcept;

// Appends a code point, which is no surrogate and at most 0x10FFFF.
void append_utf8(std::string& text, std::uint32_t code_point);

}  // namespace warpload
