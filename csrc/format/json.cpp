#include "format/json.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace warpload {
namespace {

constexpr std::size_t kMaxQuotedBytes = 120;
constexpr std::size_t kMaxDetailBytes = 200;

constexpr bool is_continuation(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Length of the UTF-8 sequence at the start of `text`, 0 when it is not one. Shortest forms only, no
// surrogates.
std::size_t utf8_sequence_length(std::string_view text) noexcept {
  const auto at = [text](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t index = 1; index < length; ++index) {
    if (!is_continuation(text[index])) return 0;
  }
  const unsigned second = at(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second >= 0xA0;
  const bool too_large = lead == 0xF4 && second >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

// Offset of the first byte that is not UTF-8; the size when there is none.
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

// What nlohmann's lexer would let pass: it skips a byte order mark and takes a NUL for the end of the text.
std::optional<JsonError> check_bytes(std::string_view text) {
  if (const std::size_t offset = find_invalid_utf8(text); offset != text.size()) {
    return JsonError{.kind = JsonErrorKind::kInvalidUtf8, .offset = offset, .reason = "the text is not valid UTF-8"};
  }
  if (text.starts_with("\xEF\xBB\xBF")) return JsonError{.offset = 0, .reason = "a byte order mark"};
  if (const std::size_t offset = text.find('\0'); offset != std::string_view::npos) {
    return JsonError{.offset = offset, .reason = "a NUL byte"};
  }
  return std::nullopt;
}

// A pointer that tells the tokenizer's owner how far it was read.
class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* current, const char** position) noexcept : current_(current), position_(position) {}
  reference operator*() const noexcept { return *current_; }
  TrackedIterator& operator++() noexcept {
    *position_ = ++current_;
    return *this;
  }
  TrackedIterator operator++(int) noexcept {
    TrackedIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TrackedIterator& left, const TrackedIterator& right) noexcept {
    return left.current_ == right.current_;
  }

 private:
  const char* current_;
  const char** position_;
};

// nlohmann's message without its position (we tell offsets, not lines) and without the token it stumbled over
// (which may be the whole text):
//   [json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ... - X; last read:
//   '..'; Y
std::string shorten_detail(std::string_view message) {
  const std::size_t begin = message.find("syntax error");
  if (begin == std::string_view::npos) return std::string(message.substr(0, kMaxDetailBytes));
  message.remove_prefix(begin);
  const std::size_t last_read = message.find("; last read");
  std::string detail(message.substr(0, std::min(last_read, kMaxDetailBytes)));
  const std::size_t expected = message.rfind("; expected ");
  if (last_read != std::string_view::npos && expected != std::string_view::npos && expected > last_read) {
    detail += message.substr(expected, kMaxDetailBytes);
  }
  return detail;
}

// Turns nlohmann's events into tokens: adds places and depth, refuses duplicate keys that the handler does not take.
class TokenSink final : public nlohmann::json::json_sax_t {
 public:
  TokenSink(std::string_view text, JsonHandler& handler) noexcept
      : text_(text), position_(text.data()), handler_(handler) {}

  // False: the parse stopped; error() says why.
  bool run() {
    const char* const end = text_.data() + text_.size();
    return nlohmann::json::sax_parse(TrackedIterator(text_.data(), &position_), TrackedIterator(end, &position_), this);
  }
  [[nodiscard]] JsonError& error() noexcept { return error_; }

  bool null() override { return emit(JsonKind::kNull); }
  bool boolean(bool) override { return emit(JsonKind::kBoolean); }
  bool number_integer(number_integer_t) override { return emit_number(JsonKind::kOtherNumber, 0); }
  bool number_unsigned(number_unsigned_t value) override { return emit_number(JsonKind::kUnsigned, value); }
  bool number_float(number_float_t, const string_t&) override { return emit_number(JsonKind::kOtherNumber, 0); }
  bool string(string_t& value) override { return emit(JsonKind::kString, std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in JSON text

  bool start_object(std::size_t) override { return open(JsonKind::kBeginObject); }
  bool start_array(std::size_t) override { return open(JsonKind::kBeginArray); }
  bool end_object() override { return close(JsonKind::kEndObject); }
  bool end_array() override { return close(JsonKind::kEndArray); }

  bool key(string_t& value) override {
    if (!open_keys_.back().insert(value).second && !handler_.takes_repeated_key(value, open_keys_.size())) {
      const std::size_t begin = next_token_begin();
      error_ = {.kind = JsonErrorKind::kDuplicateKey,
                .offset = begin,
                .reason = "duplicate key " + in_quotes(value),
                .duplicate_key = value,
                .depth = open_keys_.size()};
      return false;
    }
    return emit(JsonKind::kKey, std::move(value));
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& problem) override {
    // `position` counts the characters that were read, the one at fault (or the end of the text) included.
    error_ = {.offset = std::min(position - std::min<std::size_t>(position, 1), text_.size()),
              .reason = shorten_detail(problem.what())};
    return false;
  }

 private:
  // Only white space and one comma or colon lie between two tokens.
  [[nodiscard]] std::size_t next_token_begin() const noexcept {
    return std::min(text_.find_first_not_of(" \t\r\n,:", previous_end_), text_.size());
  }

  bool emit(JsonKind kind, std::string value = {}, std::uint64_t number = 0, std::size_t lookahead = 0) {
    JsonToken token{.kind = kind,
                    .depth = open_keys_.size(),
                    .begin = next_token_begin(),
                    .end = static_cast<std::size_t>(position_ - text_.data()) - lookahead,
                    .text = std::move(value),
                    .number = number};
    previous_end_ = token.end;
    handler_.on_token(token);
    return true;
  }

  // Only the character after a number tells that it ended, so that one is already read, unless the text is
  // over.
  bool emit_number(JsonKind kind, std::uint64_t number) {
    const char last_read = *(position_ - 1);
    const bool is_digit = last_read >= '0' && last_read <= '9';
    return emit(kind, {}, number, is_digit ? 0 : 1);
  }

  bool open(JsonKind kind) {
    if (open_keys_.size() == kMaxJsonDepth) {
      error_ = {.kind = JsonErrorKind::kTooDeep,
                .offset = next_token_begin(),
                .reason = "objects and arrays are nested deeper than " + std::to_string(kMaxJsonDepth),
                .depth = open_keys_.size()};
      return false;
    }
    emit(kind);
    open_keys_.emplace_back();
    return true;
  }

  bool close(JsonKind kind) {
    open_keys_.pop_back();
    return emit(kind);
  }

  std::string_view text_;
  const char* position_;  // one past the last character read
  std::size_t previous_end_ = 0;
  JsonHandler& handler_;
  // The keys so far of every open object (empty for arrays). An ordered set, not a hash table: the keys come
  // from strangers, who can make a hash table quadratic.
  std::vector<std::set<std::string>> open_keys_;
  JsonError error_;
};

}  // namespace

std::optional<JsonError> parse_json(std::string_view text, JsonHandler& handler) {
  if (std::optional<JsonError> error = check_bytes(text)) return error;
  TokenSink sink(text, handler);
  try {
    if (sink.run()) return std::nullopt;
  } catch (const nlohmann::json::exception& problem) {  // a number too large for a double, for one
    return JsonError{.reason = shorten_detail(problem.what())};
  }
  return std::move(sink.error());
}

std::string_view describe(JsonKind kind) noexcept {
  switch (kind) {
    case JsonKind::kBeginObject:
    case JsonKind::kEndObject:
      return "an object";
    case JsonKind::kBeginArray:
    case JsonKind::kEndArray:
      return "an array";
    case JsonKind::kKey:
      return "a key";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kUnsigned:
    case JsonKind::kOtherNumber:
      return "a number";
    case JsonKind::kBoolean:
      return "a boolean";
    case JsonKind::kNull:
      return "null";
  }
  return "something else";
}

std::string in_quotes(std::string_view text) {
  const bool is_cut = text.size() > kMaxQuotedBytes;
  if (is_cut) {
    std::size_t length = kMaxQuotedBytes;
    while (length > 0 && is_continuation(text[length])) --length;  // never inside a character
    text = text.substr(0, length);
  }
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string result = "'";
  for (const char character : text) {
    const auto code = static_cast<unsigned char>(character);
    if (code >= 0x20 && code != 0x7F) {
      result += character;
    } else {
      result += {'\\', 'x', kHexDigits[code >> 4], kHexDigits[code & 15]};
    }
  }
  return result + (is_cut ? "...'" : "'");
}

}  // namespace warpload
