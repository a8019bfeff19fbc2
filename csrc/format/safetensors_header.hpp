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

#include "format/file_start.hpp"
#include "format/header_tensor.hpp"
#include "warpload/byte_source.hpp"
#include "warpload/checkpoint.hpp"

namespace warpload {

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
// nothing but the header, whose first bytes somebody may have read already.
//
// Takes what the safetensors package takes, with the same meaning: unknown fields, an entry that is an array, a dtype
// that is an object, repeated keys in the metadata. Two exceptions: a tensor's name that comes twice (the package takes
// the last), and what no tensor can be made of.
[[nodiscard]] SafetensorsHeader read_safetensors_header(const ByteSource& source, const FileStart& start);
[[nodiscard]] SafetensorsHeader read_safetensors_header(const ByteSource& source);

}  // namespace warpload
