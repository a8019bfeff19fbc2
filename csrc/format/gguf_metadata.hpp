// The key-value pairs of a GGUF header.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "format/gguf_cursor.hpp"

namespace warpload {

struct GgufMetadata {
  // Numbers, truth values and strings by their keys, as text. Without arrays (a vocabulary may have a million entries),
  // and without strings that are no UTF-8 or longer than 64 KiB.
  std::map<std::string, std::string> values;
  std::uint64_t alignment = 32;  // general.alignment, or what holds without it
};

// Longest key or tensor's name, in bytes: the format's own bound for keys.
inline constexpr std::uint64_t kMaxGgufNameBytes = 65'535;

// Least bytes of a pair: an empty key, a type, a number of one byte.
inline constexpr std::uint64_t kLeastPairBytes = 8 + 4 + 1;

// Reads and checks that many pairs.
//
// Takes what the gguf package takes, with the same meaning, but for: arrays in arrays deeper than eight, keys longer
// than the format allows, an array of no elements of an unknown type, and an alignment below eight.
[[nodiscard]] GgufMetadata read_gguf_metadata(GgufCursor& cursor, std::uint64_t count);

}  // namespace warpload
