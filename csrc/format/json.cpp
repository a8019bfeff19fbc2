#include "format/json.hpp"

#include <algorithm>
#include <forward_list>
#include <set>
#include <utility>
#include <vector>

#include "format/json_number.hpp"
#include "format/json_string.hpp"
#include "format/utf8.hpp"

namespace warpload {
namespace {

constexpr std::size_t kMaxQuotedBytes = 120;

// What is wrong with the bytes themselves, wherever they stand.
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

// The keys of one open object so far, but for those that may come again. An ordered set, not a hash table: the keys
// come from strangers, who can make a hash table quadratic.
class Keys {
 public:
  // False where the key is there already.
  [[nodiscard]] bool insert(const JsonString& key) {
    if (!key.is_decoded()) return keys_.insert(key.value()).second;
    if (keys_.contains(key.value())) return false;
    return keys_.insert(decoded_.emplace_front(key.value())).second;
  }

 private:
  std::set<std::string_view> keys_;  // parts of the text, or of:
  std::forward_list<std::string> decoded_;
};

// Reads a text from its begin to its end. Functions return false where they stop, and error() says why.
class Parser {
 public:
  Parser(std::string_view text, JsonHandler& handler) noexcept : text_(text), handler_(handler) {}

  [[nodiscard]] bool run() {
    if (!read_value()) return false;
    skip_space();
    return at_ == text_.size() || fail("the text should be over");
  }

  [[nodiscard]] JsonError& error() noexcept { return error_; }

 private:
  [[nodiscard]] bool read_value() {
    skip_space();
    switch (next()) {
      case '{':
        return enter(JsonKind::kBeginObject) && read_members() && leave(JsonKind::kEndObject);
      case '[':
        return enter(JsonKind::kBeginArray) && read_elements() && leave(JsonKind::kEndArray);
      case '"':
        return read_string() && emit(JsonKind::kString, string_.value());
      case 't':
        return read_word("true", JsonKind::kBoolean);
      case 'f':
        return read_word("false", JsonKind::kBoolean);
      case 'n':
        return read_word("null", JsonKind::kNull);
      case '-':
      case '0':
      case '1':
      case '2':
      case '3':
      case '4':
      case '5':
      case '6':
      case '7':
      case '8':
      case '9':
        return read_number();
      default:
        return fail("a value is missing");
    }
  }

  // Up to the closing brace.
  [[nodiscard]] bool read_members() {
    skip_space();
    if (next() == '}') return true;
    while (true) {
      skip_space();
      if (next() != '"') return fail("a key is missing");
      if (!read_string() || !check_key() || !emit(JsonKind::kKey, string_.value())) return false;
      skip_space();
      if (next() != ':') return fail("a colon is missing behind the key");
      ++at_;
      if (!read_value()) return false;
      skip_space();
      if (next() == '}') return true;
      if (next() != ',') return fail("a comma or the end of the object is missing");
      ++at_;
    }
  }

  // Up to the closing bracket.
  [[nodiscard]] bool read_elements() {
    skip_space();
    if (next() == ']') return true;
    while (true) {
      if (!read_value()) return false;
      skip_space();
      if (next() == ']') return true;
      if (next() != ',') return fail("a comma or the end of the array is missing");
      ++at_;
    }
  }

  [[nodiscard]] bool enter(JsonKind kind) {
    begin_ = at_;
    if (open_.size() == kMaxJsonDepth) {
      error_ = {.kind = JsonErrorKind::kTooDeep,
                .offset = begin_,
                .reason = "objects and arrays are nested deeper than " + std::to_string(kMaxJsonDepth),
                .depth = open_.size()};
      return false;
    }
    ++at_;
    const bool going = emit(kind);
    open_.emplace_back();
    return going;
  }

  [[nodiscard]] bool leave(JsonKind kind) {
    begin_ = at_++;
    open_.pop_back();
    return emit(kind);
  }

  [[nodiscard]] bool read_string() {
    begin_ = at_;
    const bool is_valid = string_.read(text_, at_ + 1);
    at_ = string_.end();
    return is_valid || fail(string_.fault());
  }

  [[nodiscard]] bool check_key() {
    if (handler_.takes_repeated_key(string_.value(), open_.size()) || open_.back().insert(string_)) return true;
    error_ = {.kind = JsonErrorKind::kDuplicateKey,
              .offset = begin_,
              .reason = "duplicate key " + in_quotes(string_.value()),
              .duplicate_key = std::string(string_.value()),
              .depth = open_.size()};
    return false;
  }

  [[nodiscard]] bool read_number() {
    begin_ = at_;
    const JsonNumber number = read_json_number(text_, at_);
    at_ = number.end;
    if (number.fault != nullptr) return fail(number.fault);
    return emit(number.integer ? JsonKind::kUnsigned : JsonKind::kOtherNumber, {}, number.integer.value_or(0));
  }

  [[nodiscard]] bool read_word(std::string_view word, JsonKind kind) {
    begin_ = at_;
    for (const char letter : word) {
      if (next() != letter) return fail("a word that JSON does not have");
      ++at_;
    }
    return emit(kind);
  }

  // The token [begin_, at_).
  [[nodiscard]] bool emit(JsonKind kind, std::string_view text = {}, std::uint64_t number = 0) {
    JsonToken token{.kind = kind, .depth = open_.size(), .begin = begin_, .end = at_, .text = text, .number = number};
    handler_.on_token(token);
    return true;
  }

  [[nodiscard]] bool fail(const char* reason) {
    error_ = {.offset = at_, .reason = at_ == text_.size() ? std::string(reason) + ": the text ends" : reason};
    return false;
  }

  // The next byte; NUL, which no text has here, at the end.
  [[nodiscard]] char next() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() noexcept {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  std::string_view text_;
  JsonHandler& handler_;
  std::size_t at_ = 0;
  std::size_t begin_ = 0;  // of the token that is being read
  JsonString string_;
  std::vector<Keys> open_;  // one an open object or array
  JsonError error_;
};

}  // namespace

std::optional<JsonError> parse_json(std::string_view text, JsonHandler& handler) {
  if (std::optional<JsonError> error = check_bytes(text)) return error;
  Parser parser(text, handler);
  if (parser.run()) return std::nullopt;
  return std::move(parser.error());
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
    while (length > 0 && is_utf8_continuation(text[length])) --length;  // never inside a character
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
