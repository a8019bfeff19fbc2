#include "format/gguf_metadata.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <unordered_set>
#include <utility>

#include "format/utf8.hpp"

namespace warpload {
namespace {

// Types of values, by their numbers in the file.
enum class ValueType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

constexpr std::uint32_t kLastType = static_cast<std::uint32_t>(ValueType::kF64);
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr std::uint64_t kLeastAlignment = 8;
constexpr std::uint64_t kLongestKept = std::uint64_t{64} << 10;
constexpr unsigned kMaxDepth = 8;  // of arrays in arrays

// Bytes of a value; of a string and an array, the fewest.
constexpr std::uint64_t least_bytes(ValueType type) noexcept {
  switch (type) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool:
      return 1;
    case ValueType::kU16:
    case ValueType::kI16:
      return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32:
      return 4;
    case ValueType::kArray:
      return 12;
    default:
      return 8;
  }
}

class MetadataReader {
 public:
  explicit MetadataReader(GgufCursor& cursor) noexcept : cursor_(cursor) {}

  void read_pair() {
    begin_ = cursor_.at();
    key_ = cursor_.text("a key", kMaxGgufNameBytes);
    if (find_invalid_utf8(key_) != key_.size()) cursor_.refuse("a key is not valid UTF-8", begin_);
    if (!keys_.insert(key_).second) refuse("the key comes twice");
    const ValueType type = read_type();
    if (key_ == kAlignmentKey) return read_alignment(type);
    if (std::optional<std::string> value = read_value(type)) metadata_.values.emplace(key_, *std::move(value));
  }

  [[nodiscard]] GgufMetadata take() { return std::move(metadata_); }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    cursor_.refuse("metadata '" + key_ + "': " + reason, begin_);
  }

  ValueType read_type() {
    const auto number = cursor_.number<std::uint32_t>();
    if (number > kLastType) refuse("unknown type of value " + std::to_string(number));
    return static_cast<ValueType>(number);
  }

  void read_alignment(ValueType type) {
    if (type != ValueType::kU32) refuse("the alignment must be an unsigned integer of 32 bits");
    const auto alignment = cursor_.number<std::uint32_t>();
    if (alignment < kLeastAlignment || (alignment & (alignment - 1)) != 0) {
      refuse("the alignment must be a power of two and a multiple of 8, found " + std::to_string(alignment));
    }
    metadata_.alignment = alignment;
    metadata_.values.emplace(key_, std::to_string(alignment));
  }

  // The value as text, where it is kept.
  std::optional<std::string> read_value(ValueType type) {
    switch (type) {
      case ValueType::kU8:
        return as_text<std::uint8_t>();
      case ValueType::kI8:
        return as_text<std::int8_t>();
      case ValueType::kU16:
        return as_text<std::uint16_t>();
      case ValueType::kI16:
        return as_text<std::int16_t>();
      case ValueType::kU32:
        return as_text<std::uint32_t>();
      case ValueType::kI32:
        return as_text<std::int32_t>();
      case ValueType::kU64:
        return as_text<std::uint64_t>();
      case ValueType::kI64:
        return as_text<std::int64_t>();
      case ValueType::kF32:
        return as_text<float>();
      case ValueType::kF64:
        return as_text<double>();
      case ValueType::kBool:
        return cursor_.number<std::uint8_t>() != 0 ? "true" : "false";
      case ValueType::kString:
        return read_string();
      case ValueType::kArray:
        skip_array(1);
        return std::nullopt;
    }
    return std::nullopt;
  }

  template <class Number>
  std::string as_text() {
    std::array<char, 32> text{};  // the longest double has 24 characters
    const auto number = cursor_.number<Number>();
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
    return {text.data(), end};
  }

  std::optional<std::string> read_string() {
    const std::uint64_t length = cursor_.count("bytes of text", 1);
    if (length > kLongestKept) {
      cursor_.skip(length);
      return std::nullopt;
    }
    std::string value = cursor_.bytes(length);
    if (find_invalid_utf8(value) != value.size()) return std::nullopt;
    return value;
  }

  void skip_string() { cursor_.skip(cursor_.count("bytes of text", 1)); }

  void skip_array(unsigned depth) {
    if (depth > kMaxDepth) refuse("there are arrays in arrays, more than " + std::to_string(kMaxDepth) + " deep");
    const ValueType type = read_type();
    const std::uint64_t count = cursor_.count("elements of an array", least_bytes(type));
    if (type != ValueType::kString && type != ValueType::kArray) return cursor_.skip(count * least_bytes(type));
    for (std::uint64_t element = 0; element < count; ++element) {
      if (type == ValueType::kString) {
        skip_string();
      } else {
        skip_array(depth + 1);
      }
    }
  }

  GgufCursor& cursor_;
  GgufMetadata metadata_;
  std::unordered_set<std::string> keys_;

  // The pair being read.
  std::uint64_t begin_ = 0;
  std::string key_;
};

}  // namespace

GgufMetadata read_gguf_metadata(GgufCursor& cursor, std::uint64_t count) {
  MetadataReader reader(cursor);
  for (std::uint64_t pair = 0; pair < count; ++pair) reader.read_pair();
  return reader.take();
}

}  // namespace warpload
