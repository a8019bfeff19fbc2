#include "format/utf8.hpp"

#include <cstring>

namespace warpload {
namespace {

// Length of the sequence at the start of `text`, 0 when it is not one.
std::size_t utf8_sequence_length(std::string_view text) noexcept {
  const auto at = [text](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t index = 1; index < length; ++index) {
    if (!is_utf8_continuation(text[index])) return 0;
  }
  const unsigned second = at(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second >= 0xA0;
  const bool too_large = lead == 0xF4 && second >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) noexcept {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::size_t offset = 0;
  while (offset < text.size()) {
    std::uint64_t word = 0;
    if (text.size() - offset >= sizeof(word)) {
      std::memcpy(&word, text.data() + offset, sizeof(word));
      if ((word & kHighBits) == 0) {  // eight ASCII characters, nearly always the case
        offset += sizeof(word);
        continue;
      }
    }
    const std::size_t length = utf8_sequence_length(text.substr(offset));
    if (length == 0) return offset;
    offset += length;
  }
  return offset;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
  const auto byte = [&](std::uint32_t lead, unsigned shift) {
    text += static_cast<char>(lead | (code_point >> shift & 0x3F));
  };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    byte(0xC0, 6), byte(0x80, 0);
  } else if (code_point < 0x10000) {
    byte(0xE0, 12), byte(0x80, 6), byte(0x80, 0);
  } else {
    byte(0xF0, 18), byte(0x80, 12), byte(0x80, 6), byte(0x80, 0);
  }
}

}  // namespace warpload
