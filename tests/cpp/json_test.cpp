#include "format/json.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cpp/support/json_events.hpp"

namespace warpload {
namespace {

using testing::compare_with_nlohmann;
using testing::OwnEvents;

constexpr std::string_view kHeader =
    R"({"__metadata__":{"format":"pt","\u00e9\ud834\udd1e":"\"\\\/\b\f\n\r\t"}, "w" : {"dtype":"F32","shape":[2, 30],)"
    R"("data_offsets":[0,18446744073709551615]},"x":[-1,0.5,1e9,-0.0E-7,true,false,null,{},[],""]})";

std::optional<JsonError> refusal(std::string_view text) {
  OwnEvents events(text);
  return parse_json(text, events);
}

struct Tokens final : JsonHandler {
  void on_token(JsonToken& token) override { spans.emplace_back(token.begin, token.end); }
  std::vector<std::pair<std::size_t, std::size_t>> spans;
};

TEST(JsonTest, TokensComeWithTheirPlaces) {
  Tokens tokens;
  ASSERT_FALSE(parse_json(R"( {"a\n": [12,-3] })", tokens));
  EXPECT_EQ(tokens.spans, (std::vector<std::pair<std::size_t, std::size_t>>{
                              {1, 2}, {2, 7}, {9, 10}, {10, 12}, {13, 15}, {15, 16}, {17, 18}}));
}

TEST(JsonTest, ATextIsReadAsByAnIndependentReader) {
  for (const std::string_view text : {kHeader,
                                      std::string_view{"{}"},
                                      std::string_view{" [ ] "},
                                      std::string_view{"\"\\u0000\""},
                                      std::string_view{"18446744073709551616"},
                                      std::string_view{"-"},
                                      std::string_view{"01"},
                                      std::string_view{"1."},
                                      std::string_view{"1e+"},
                                      std::string_view{".5"},
                                      std::string_view{"nul"},
                                      std::string_view{"[1,]"},
                                      std::string_view{"{\"a\":1,}"},
                                      std::string_view{"{,}"},
                                      std::string_view{"\"\\ud800\""},
                                      std::string_view{"\"\\udc00\""},
                                      std::string_view{"\"\\ud800\\u0041\""},
                                      std::string_view{"\"\\x\""},
                                      std::string_view{"\"\t\""},
                                      std::string_view{"\""},
                                      std::string_view{""},
                                      std::string_view{"[1 2]"},
                                      std::string_view{"NaN"},
                                      std::string_view{"\"\x7f\""},
                                      std::string_view{"{\"a\" 1}"}}) {
    EXPECT_EQ(compare_with_nlohmann(text), "") << text;
  }
}

TEST(JsonTest, ATextWithOneByteChangedIsReadAsByAnIndependentReader) {
  for (std::size_t position = 0; position < kHeader.size(); ++position) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text(kHeader);
      text[position] = static_cast<char>(byte);
      ASSERT_EQ(compare_with_nlohmann(text), "") << text;
    }
    ASSERT_EQ(compare_with_nlohmann(kHeader.substr(0, position)), "") << position;
  }
}

TEST(JsonTest, TextsOfRandomWordsAreReadAsByAnIndependentReader) {
  constexpr std::string_view kWords[] = {
      "{",    "}",       "[",       "]", ",", ":",  "\"", "\"a\"", "\\u00e9", "\\n", "true",     "false",
      "null", "\\ud834", "\\udd1e", "-", "0", "17", ".5", "e3",    " ",       "\n",  "\xC3\xA9", "\"abcdefgh\"",
      "[1]",  "{}",      "\"k\":"};
  std::mt19937 random(7);
  for (int round = 0; round < 200'000; ++round) {
    std::string text;
    for (std::size_t count = random() % 12; count > 0; --count) text += kWords[random() % std::size(kWords)];
    ASSERT_EQ(compare_with_nlohmann(text), "") << text;
  }
}

TEST(JsonTest, AnErrorIsWhereTheTextStopsMakingSense) {
  EXPECT_EQ(refusal(R"({"w" 1})")->offset, 5U);
  EXPECT_EQ(refusal(R"({"w":1 2})")->offset, 7U);
  EXPECT_EQ(refusal(R"(["a\x"])")->offset, 4U);
  EXPECT_EQ(refusal("[\"a\nb\"]")->offset, 3U);
  EXPECT_EQ(refusal("[tru]")->offset, 4U);
  EXPECT_EQ(refusal("[1.]")->offset, 3U);
  EXPECT_EQ(refusal("[1")->offset, 2U);
  EXPECT_EQ(refusal("{} {")->offset, 3U);
  EXPECT_NE(refusal("[1")->reason.find("the text ends"), std::string::npos);
}

struct Strict final : JsonHandler {
  void on_token(JsonToken&) override {}
};

TEST(JsonTest, AKeyThatIsSpelledInAnotherWayIsTheSameKey) {
  for (const std::string_view text :
       {R"({"a":1,"a":2})", R"({"a":1,"\u0061":2})", R"({"\u0061":1,"a":2})", R"({"\u0061":1,"\u0061":2})"}) {
    Strict handler;
    const auto error = parse_json(text, handler);
    ASSERT_TRUE(error) << text;
    EXPECT_EQ(error->kind, JsonErrorKind::kDuplicateKey);
    EXPECT_EQ(error->duplicate_key, "a");
    EXPECT_EQ(error->offset, text.rfind(',') + 1);
    EXPECT_EQ(error->depth, 1U);
  }
  Strict handler;
  EXPECT_FALSE(parse_json(R"({"a":{"a":1},"b":[{"a":1},{"a":1}]})", handler));
}

TEST(JsonTest, DepthIsCountedAndBounded) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_FALSE(refusal(nested(kMaxJsonDepth)));
  const auto error = refusal(nested(kMaxJsonDepth + 1));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind, JsonErrorKind::kTooDeep);
  EXPECT_EQ(error->offset, kMaxJsonDepth);
}

TEST(JsonTest, ANumberAboveAllDoublesIsRefusedHoweverItIsWritten) {
  const std::string nines(400, '9');
  const std::vector<std::string> above{
      "1e999", "-1e309", "1.8e308", "1.7976931348623159e308", "0.00001e314", nines, "1e99999999999999999999"};
  for (const std::string& text : above) {
    const auto error = refusal(text);
    ASSERT_TRUE(error) << text;
    EXPECT_EQ(error->offset, 0U);
    EXPECT_EQ(compare_with_nlohmann(text), "") << text;
  }
  const std::vector<std::string> below{"1.7976931348623157e308",   "-1e308",    "0e999",
                                       "0.0e99999999999999999999", "1e-999",    "0.00001e313",
                                       nines.substr(0, 308),       "0." + nines};
  for (const std::string& text : below) {
    EXPECT_FALSE(refusal(text)) << text;
    EXPECT_EQ(compare_with_nlohmann(text), "") << text;
  }
}

}  // namespace
}  // namespace warpload
