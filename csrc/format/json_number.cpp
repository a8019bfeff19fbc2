#include "format/json_number.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

namespace warpload {
namespace {

constexpr bool is_digit(char byte) noexcept { return byte >= '0' && byte <= '9'; }

std::size_t skip_digits(std::string_view text, std::size_t at) noexcept {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

// Nothing where it does not fit.
std::optional<std::uint64_t> value_of(std::string_view digits) noexcept {
  std::uint64_t value = 0;
  for (const char digit : digits) {
    const auto unit = static_cast<std::uint64_t>(digit - '0');
    if (__builtin_mul_overflow(value, std::uint64_t{10}, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, unit, &value)) return std::nullopt;
  }
  return value;
}

// Up to a bound that no other part of a number reaches.
std::int64_t exponent_of(std::string_view digits) noexcept {
  constexpr std::int64_t kBound = std::int64_t{1} << 40;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  std::int64_t value = 0;
  for (const char digit : digits) value = std::min(value * 10 + (digit - '0'), kBound);
  return negative ? -value : value;
}

// The first digits of a number that count, and the power of ten to multiply them with.
class Magnitude {
 public:
  explicit Magnitude(std::string_view number) {
    const std::size_t exponent = std::min(number.find_first_of("eE"), number.size());
    for (const char character : number.substr(0, exponent)) add(character);
    if (exponent < number.size()) power_ += exponent_of(number.substr(exponent + 1));
  }

  [[nodiscard]] bool is_above_doubles() const {
    const std::int64_t digits_before_point = static_cast<std::int64_t>(digits_.size()) + power_;
    if (digits_.empty() || digits_before_point < 309) return false;
    if (digits_before_point > 309) return true;
    // Without a point, whose character is the locale's. What was cut off counts as a little.
    const std::string text = digits_ + (was_cut_ ? "1e" : "0e") + std::to_string(power_ - 1);
    return std::isinf(std::strtod(text.c_str(), nullptr));
  }

 private:
  void add(char character) {
    constexpr std::size_t kKept = 40;
    if (character == '.') behind_point_ = true;
    if (!is_digit(character)) return;
    if (behind_point_) --power_;
    if (digits_.empty() && character == '0') return;
    if (digits_.size() < kKept) {
      digits_ += character;
    } else {
      ++power_;
      was_cut_ = was_cut_ || character != '0';
    }
  }

  std::string digits_;
  std::int64_t power_ = 0;
  bool behind_point_ = false;
  bool was_cut_ = false;
};

constexpr const char* kDigitMissing = "a number without a digit where one has to be";

}  // namespace

JsonNumber read_json_number(std::string_view text, std::size_t begin) {
  const auto is_at = [&](std::size_t at, std::string_view any_of) {
    return at < text.size() && any_of.find(text[at]) != std::string_view::npos;
  };
  const std::size_t integer = begin + (is_at(begin, "-") ? 1 : 0);
  std::size_t end = is_at(integer, "0") ? integer + 1 : skip_digits(text, integer);
  if (end == integer) return {.end = end, .fault = kDigitMissing};
  const std::size_t integer_end = end;
  if (is_at(end, ".")) {
    const std::size_t fraction = end + 1;
    end = skip_digits(text, fraction);
    if (end == fraction) return {.end = end, .fault = kDigitMissing};
  }
  if (is_at(end, "eE")) {
    const std::size_t exponent = end + (is_at(end + 1, "+-") ? 2 : 1);
    end = skip_digits(text, exponent);
    if (end == exponent) return {.end = end, .fault = kDigitMissing};
  }
  const std::string_view number = text.substr(begin, end - begin);
  std::optional<std::uint64_t> value;
  if (integer == begin && integer_end == end) value = value_of(number);
  // Short ones cannot be: a look at most numbers of a header is spared.
  const bool may_be_large = !value && (number.size() > 308 || integer_end != end);
  if (may_be_large && Magnitude(number).is_above_doubles()) {
    return {.end = begin, .fault = "a number above all doubles"};
  }
  return {.end = end, .integer = value};
}

}  // namespace warpload
