// A string of JSON, from behind its opening quote to behind its closing one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace warpload {

class JsonString {
 public:
  // Reads on from `begin`, behind the opening quote. False: fault() says what is wrong at end().
  //
  // `text` is UTF-8. A string without escapes is not copied.
  [[nodiscard]] bool read(std::string_view text, std::size_t begin);

  // Behind the closing quote, or at the byte at fault.
  [[nodiscard]] std::size_t end() const noexcept { return at_; }

  // What the string says; a part of the text, or valid until the next read.
  [[nodiscard]] std::string_view value() const noexcept { return value_; }

  // True when value() is not a part of the text.
  [[nodiscard]] bool is_decoded() const noexcept { return is_decoded_; }

  [[nodiscard]] const char* fault() const noexcept { return fault_; }

 private:
  [[nodiscard]] bool decode();
  [[nodiscard]] bool decode_escape();
  [[nodiscard]] bool decode_code_point();
  [[nodiscard]] bool read_code_unit(std::uint32_t& unit);
  [[nodiscard]] bool fail(const char* fault) noexcept;

  std::string_view text_;
  std::size_t at_ = 0;
  std::string_view value_;
  std::string decoded_;
  bool is_decoded_ = false;
  const char* fault_ = "";
};

}  // namespace warpload
