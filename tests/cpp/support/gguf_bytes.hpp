// Bytes of GGUF files, right and wrong ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warpload::testing {

// A number as little-endian bytes.
template <class Number>
std::string gguf_number(Number number) {
  std::string bytes;
  for (std::size_t index = 0; index < sizeof(Number); ++index) {
    bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * index) & 0xFF);
  }
  return bytes;
}

inline std::string gguf_string(std::string_view text) { return gguf_number<std::uint64_t>(text.size()).append(text); }

// A pair of metadata whose value, of that type, has these bytes.
inline std::string gguf_pair(std::string_view key, std::uint32_t type, std::string_view value) {
  return gguf_string(key) + gguf_number(type) + std::string(value);
}

// One tensor's entry; the extents are in the file's order, the fastest first.
inline std::string gguf_entry(std::string_view name, const std::vector<std::uint64_t>& extents, std::uint32_t type,
                              std::uint64_t offset) {
  std::string bytes = gguf_string(name) + gguf_number<std::uint32_t>(static_cast<std::uint32_t>(extents.size()));
  for (const std::uint64_t extent : extents) bytes += gguf_number(extent);
  return bytes + gguf_number(type) + gguf_number(offset);
}

// What a file is made of; a correct one, unless its parts are wrong.
struct GgufParts {
  std::uint32_t version = 3;
  std::vector<std::string> pairs = {};
  std::vector<std::string> tensors = {};
  std::string data = {};
  std::size_t alignment = 32;  // of the data's begin
};

inline std::string gguf_header_of(const GgufParts& parts) {
  std::string bytes = "GGUF" + gguf_number(parts.version) + gguf_number<std::uint64_t>(parts.tensors.size()) +
                      gguf_number<std::uint64_t>(parts.pairs.size());
  for (const std::string& pair : parts.pairs) bytes += pair;
  for (const std::string& tensor : parts.tensors) bytes += tensor;
  return bytes;
}

inline std::string gguf_bytes(const GgufParts& parts) {
  std::string bytes = gguf_header_of(parts);
  bytes.resize((bytes.size() + parts.alignment - 1) / parts.alignment * parts.alignment, '\0');
  return bytes + parts.data;
}

// Types of values and of tensors, by their numbers.
inline constexpr std::uint32_t kGgufU32 = 4;
inline constexpr std::uint32_t kGgufString = 8;
inline constexpr std::uint32_t kGgufArray = 9;
inline constexpr std::uint32_t kGgmlF32 = 0;
inline constexpr std::uint32_t kGgmlF16 = 1;
inline constexpr std::uint32_t kGgmlQ4_0 = 2;
inline constexpr std::uint32_t kGgmlQ8_0 = 8;
inline constexpr std::uint32_t kGgmlBf16 = 30;

}  // namespace warpload::testing
