// What a reader of JSON says about a text, from ours and from nlohmann's.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/json.hpp"
#include "format/utf8.hpp"

namespace warpload::testing {

// An event is a token without its place: its kind, and what it says.
using JsonEvents = std::vector<std::string>;

struct OwnEvents final : JsonHandler {
  explicit OwnEvents(std::string_view whole) : text(whole) {}

  void on_token(JsonToken& token) override {
    ordered = ordered && token.begin >= end && token.end > token.begin && token.end <= text.size();
    end = token.end;
    switch (token.kind) {
      case JsonKind::kBeginObject:
        return add("{");
      case JsonKind::kEndObject:
        return add("}");
      case JsonKind::kBeginArray:
        return add("[");
      case JsonKind::kEndArray:
        return add("]");
      case JsonKind::kKey:
        return add("key ", token.text);
      case JsonKind::kString:
        return add("string ", token.text);
      case JsonKind::kUnsigned:
        return add("unsigned ", std::to_string(token.number));
      case JsonKind::kOtherNumber:
        return add("number");
      case JsonKind::kBoolean:
        return add("boolean");
      case JsonKind::kNull:
        return add("null");
    }
  }
  [[nodiscard]] bool takes_repeated_key(std::string_view, std::size_t) const override { return true; }

  void add(std::string kind, std::string_view what = {}) { events.push_back(kind.append(what)); }

  std::string_view text;
  JsonEvents events;
  std::size_t end = 0;
  bool ordered = true;  // tokens follow each other within the text
};

struct NlohmannEvents final : nlohmann::json::json_sax_t {
  bool null() override { return add("null"); }
  bool boolean(bool) override { return add("boolean"); }
  bool number_integer(number_integer_t) override { return add("number"); }
  bool number_unsigned(number_unsigned_t value) override { return add("unsigned ", std::to_string(value)); }
  bool number_float(number_float_t, const string_t&) override { return add("number"); }
  bool string(string_t& value) override { return add("string ", value); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return add("{", "", 1); }
  bool end_object() override { return add("}", "", -1); }
  bool start_array(std::size_t) override { return add("[", "", 1); }
  bool end_array() override { return add("]", "", -1); }
  bool key(string_t& value) override { return add("key ", value); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  bool add(std::string kind, std::string_view what = {}, int opened = 0) {
    events.push_back(kind.append(what));
    depth += opened;
    deepest = std::max(deepest, depth);
    return true;
  }

  JsonEvents events;
  int depth = 0;
  int deepest = 0;
};

// Empty where both readers say the same about a text: whether it is JSON, and what is in it. What only ours refuses by
// its own rules (bytes that are no UTF-8, a byte order mark, a NUL, deep nesting) has to be refused.
inline std::string compare_with_nlohmann(std::string_view text) {
  OwnEvents own(text);
  const std::optional<JsonError> error = parse_json(text, own);
  if (!own.ordered) return "the tokens are not in order";
  if (error && (error->offset > text.size() || error->reason.empty())) return "an error without a place or a reason";
  NlohmannEvents other;
  bool other_takes = false;
  try {
    other_takes = nlohmann::json::sax_parse(text.begin(), text.end(), &other);
  } catch (const nlohmann::json::exception&) {  // a number above all doubles
  }
  const bool by_own_rules = find_invalid_utf8(text) != text.size() || text.starts_with("\xEF\xBB\xBF") ||
                            text.find('\0') != std::string_view::npos ||
                            other.deepest > static_cast<int>(kMaxJsonDepth);
  if (by_own_rules) return error ? "" : "taken against our own rules";
  if (other_takes == error.has_value()) return error ? "only we refuse: " + error->reason : "only we take it";
  return !error && own.events != other.events ? "read differently" : "";
}

}  // namespace warpload::testing
