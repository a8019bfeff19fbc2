// A number of JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace warpload {

struct JsonNumber {
  std::size_t end = 0;                        // behind its last character, or at the byte at fault
  const char* fault = nullptr;                // why it is none
  std::optional<std::uint64_t> integer = {};  // where it is one of 64 bits, written without sign, point or exponent
};

// Reads the number that begins at `begin`, with a digit or a minus. Nothing is kept of its digits, however many. One
// that is above all doubles is none, as for the usual readers.
[[nodiscard]] JsonNumber read_json_number(std::string_view text, std::size_t begin);

}  // namespace warpload
