// Strict JSON as a stream of tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace warpload {

enum class JsonKind : std::uint8_t {
  kBeginObject,
  kEndObject,
  kBeginArray,
  kEndArray,
  kKey,          // `text`
  kString,       // `text`
  kUnsigned,     // `number`: an integer from 0 to 2^64 - 1, written without sign, point or exponent
  kOtherNumber,  // any other number
  kBoolean,
  kNull,
};

// One token and where it stands in the text:
//
//   {"weight": [12, -3]}
//   ^          ^
//   depth 0    depth 1, begin 11, end 12; both numbers have depth 2
struct JsonToken {
  JsonKind kind = JsonKind::kNull;
  std::size_t depth = 0;  // how many objects and arrays are open around it
  std::size_t begin = 0;  // [begin, end) in the text, quotes included
  std::size_t end = 0;
  std::string_view text = {};  // decoded; valid while the token is handled
  std::uint64_t number = 0;
};

// Receives the tokens in order. Whatever it throws passes through parse_json.
class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  virtual void on_token(JsonToken& token) = 0;

  // Whether a key may come again in its object, `depth` objects and arrays being open around it. True lets it pass on
  // as any other each time; false ends the parse with kDuplicateKey at the second.
  [[nodiscard]] virtual bool takes_repeated_key(std::string_view /*key*/, std::size_t /*depth*/) const { return false; }
};

enum class JsonErrorKind : std::uint8_t { kInvalidUtf8, kSyntax, kDuplicateKey, kTooDeep };

struct JsonError {
  JsonErrorKind kind = JsonErrorKind::kSyntax;
  std::size_t offset = 0;  // of the byte at fault; the text's size when it ends too early
  std::string reason = {};
  std::string duplicate_key = {};  // only for kDuplicateKey
  std::size_t depth = 0;           // of the token at fault; only for kDuplicateKey and kTooDeep
};

// Objects and arrays that may be open at once: as many as the safetensors package takes in a header.
inline constexpr std::size_t kMaxJsonDepth = 127;

// Parses one JSON value surrounded by nothing but JSON white space. Refuses what RFC 8259 refuses, and also a byte
// order mark, a key that an object already has (unless the handler takes it), and deeper nesting than
// kMaxJsonDepth. Time is O(n log n). Memory is some 64 bytes a key that may not come again, in the objects that are
// open, and as much as the longest string with an escape takes. The handler may have received tokens before an
// error is found.
[[nodiscard]] std::optional<JsonError> parse_json(std::string_view text, JsonHandler& handler);

// "an object", "a string", ...: for messages.
[[nodiscard]] std::string_view describe(JsonKind kind) noexcept;

// 'text' in quotes for a message: control characters shown as \xNN, cut after a hundred bytes or so. Text
// from a file must not drive a terminal or fill a log.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace warpload
