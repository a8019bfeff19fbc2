#include "format/json_string.hpp"

#include <cstring>

#include "format/utf8.hpp"

namespace warpload {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighBits = 0x8080808080808080;

constexpr bool is_control(char byte) noexcept { return static_cast<unsigned char>(byte) < 0x20; }

constexpr bool ends_plain_text(char byte) noexcept { return byte == '"' || byte == '\\' || is_control(byte); }

// The high bit of every byte that is below `limit` (128 at most), and maybe of some behind the first of these.
constexpr std::uint64_t bytes_below(std::uint64_t word, std::uint64_t limit) noexcept {
  return (word - kOnes * limit) & ~word & kHighBits;
}

constexpr bool is_plain(std::uint64_t word) noexcept {
  constexpr std::uint64_t kQuotes = kOnes * '"';
  constexpr std::uint64_t kBackslashes = kOnes * '\\';
  return (bytes_below(word ^ kQuotes, 1) | bytes_below(word ^ kBackslashes, 1) | bytes_below(word, 0x20)) == 0;
}

// Offset of the first byte that stands for more than itself; the size when there is none.
std::size_t find_end_of_plain_text(std::string_view text, std::size_t begin) noexcept {
  for (std::uint64_t word = 0; text.size() - begin >= sizeof(word); begin += sizeof(word)) {
    std::memcpy(&word, text.data() + begin, sizeof(word));
    if (!is_plain(word)) break;
  }
  while (begin < text.size() && !ends_plain_text(text[begin])) ++begin;
  return begin;
}

// What a backslash and this letter stand for; 0 where that is nothing. Not for 'u'.
constexpr char unescaped(char letter) noexcept {
  switch (letter) {
    case '"':
    case '\\':
    case '/':
      return letter;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

// Its value, or 16.
constexpr std::uint32_t hexadecimal(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return static_cast<std::uint32_t>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<std::uint32_t>(digit - 'a') + 10;
  if (digit >= 'A' && digit <= 'F') return static_cast<std::uint32_t>(digit - 'A') + 10;
  return 16;
}

constexpr bool is_high_surrogate(std::uint32_t unit) noexcept { return unit >= 0xD800 && unit < 0xDC00; }
constexpr bool is_low_surrogate(std::uint32_t unit) noexcept { return unit >= 0xDC00 && unit < 0xE000; }

}  // namespace

bool JsonString::read(std::string_view text, std::size_t begin) {
  text_ = text;
  at_ = find_end_of_plain_text(text_, begin);
  value_ = text_.substr(begin, at_ - begin);
  is_decoded_ = at_ < text_.size() && text_[at_] == '\\';
  if (is_decoded_) return decode();
  if (at_ == text_.size()) return fail("the text ends within a string");
  if (is_control(text_[at_])) return fail("a control character within a string");
  ++at_;
  return true;
}

// `value_` is what stands before the first escape.
bool JsonString::decode() {
  decoded_ = value_;
  while (at_ < text_.size() && !is_control(text_[at_])) {
    if (text_[at_] == '"') {
      ++at_;
      value_ = decoded_;
      return true;
    }
    if (text_[at_] == '\\') {
      if (!decode_escape()) return false;
    }
    const std::size_t begin = at_;
    at_ = find_end_of_plain_text(text_, begin);
    decoded_ += text_.substr(begin, at_ - begin);
  }
  return fail(at_ == text_.size() ? "the text ends within a string" : "a control character within a string");
}

bool JsonString::decode_escape() {
  if (++at_ == text_.size()) return fail("the text ends within an escape");
  if (text_[at_] == 'u') {
    ++at_;
    return decode_code_point();
  }
  const char character = unescaped(text_[at_]);
  if (character == 0) return fail("an escape that JSON does not have");
  decoded_ += character;
  ++at_;
  return true;
}

bool JsonString::decode_code_point() {
  std::uint32_t code_point = 0;
  if (!read_code_unit(code_point)) return false;
  if (is_low_surrogate(code_point)) return fail("the second half of a surrogate pair without the first");
  if (is_high_surrogate(code_point)) {
    std::uint32_t low = 0;
    if (text_.substr(at_, 2) != "\\u") return fail("the first half of a surrogate pair without the second");
    at_ += 2;
    if (!read_code_unit(low)) return false;
    if (!is_low_surrogate(low)) return fail("the first half of a surrogate pair without the second");
    code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
  }
  append_utf8(decoded_, code_point);
  return true;
}

bool JsonString::read_code_unit(std::uint32_t& unit) {
  for (int digit = 0; digit < 4; ++digit, ++at_) {
    if (at_ == text_.size()) return fail("the text ends within an escape");
    const std::uint32_t value = hexadecimal(text_[at_]);
    if (value == 16) return fail("an escape \\u without four hexadecimal digits");
    unit = unit << 4 | value;
  }
  return true;
}

bool JsonString::fail(const char* fault) noexcept {
  fault_ = fault;
  return false;
}

}  // namespace warpload
