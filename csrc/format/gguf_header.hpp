// The header of one GGUF file, parsed and validated.
//
//   0      4         8           16         24                                data_begin
//   | GGUF | version | tensors n | pairs m  | m pairs | n tensors | padding | tensor data, each aligned, no overlap |
//                                                                           ^ a multiple of general.alignment
//
//   pair    | key | type | value |
//   tensor  | name | number of axes | extents, the fastest first | type | offset from data_begin |
//   string  | u64 length | bytes |        all numbers little endian
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "format/file_start.hpp"
#include "format/header_tensor.hpp"
#include "warpload/byte_source.hpp"

namespace warpload {

struct GgufHeader {
  std::uint64_t data_begin = 0;
  std::vector<HeaderTensor> tensors;            // ordered by range.begin, then range.end, then name
  std::map<std::string, std::string> metadata;  // see GgufMetadata::values
};

// The ending that GGUF files have.
inline constexpr std::string_view kGgufSuffix = ".gguf";

// Whether the file begins as a GGUF file does. No safetensors file does: its header would have to be larger than the
// format allows.
[[nodiscard]] bool is_gguf(const FileStart& start) noexcept;

// Says what a file is that is called a GGUF file and does not begin as one. Throws FormatError.
[[noreturn]] void refuse_no_gguf(const ByteSource& source);

// Reads and checks the header: every rule of the format, before anything is allocated for tensors. Throws FormatError
// with path, tensor, byte range, reason and cure, or IoError when the bytes cannot be read. Reads the header and at
// most 64 KiB behind it.
//
// Takes what the gguf package takes, with the same meaning: versions 2 and 3, holes between tensors, bytes behind the
// last one, any number of axes up to 64. Refuses besides what ggml refuses: tensors that overlap or are not aligned;
// and files of the other byte order.
[[nodiscard]] GgufHeader read_gguf_header(const ByteSource& source);

}  // namespace warpload
