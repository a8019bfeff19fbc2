// The header of one safetensors file, parsed and validated.
//
//   0        8             8+N                                   file size
//   | u64 N  | JSON header | tensor data, no holes, no overlap   |
//                          ^ data_begin
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "warpload/byte_source.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/dtype.hpp"
#include "warpload/error.hpp"

namespace warpload {

struct HeaderTensor {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::uint64_t> shape;
  ByteRange range;  // absolute offsets in the file
};

struct SafetensorsHeader {
  std::uint64_t data_begin = 0;
  std::vector<HeaderTensor> tensors;                           // ordered by range.begin, then range.end, then name
  std::optional<std::map<std::string, std::string>> metadata;  // "__metadata__", where there is one
  std::vector<Oddity> oddities;                                // what the reference takes although no writer needs it
};

// Longest header that the format allows, in bytes (the same bound as the safetensors package).
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

// Reads and checks the header: every rule of the format, before anything is allocated for tensors. Throws
// FormatError with path, tensor, byte range, reason and cure, or IoError when the bytes cannot be read. Reads
// nothing but the header.
//
// Takes what the safetensors package takes, with the same meaning: unknown fields, an entry that is an array, a dtype
// that is an object, repeated keys in the metadata. Two exceptions: a tensor's name that comes twice (the package takes
// the last), and what no tensor can be made of.
[[nodiscard]] SafetensorsHeader read_safetensors_header(const ByteSource& source);

}  // namespace warpload
