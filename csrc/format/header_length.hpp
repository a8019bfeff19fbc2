// The eight bytes that a safetensors file begins with: its header's length, or the sign of another kind of file.
#pragma once

#include <cstdint>
#include <string_view>

#include "format/file_start.hpp"
#include "warpload/byte_source.hpp"

namespace warpload {

inline constexpr std::string_view kWhiteSpace = " \t\r\n";  // JSON's

// The length of the header, which lies within the file, by the file's first bytes. Throws FormatError where it cannot.
[[nodiscard]] std::uint64_t read_header_length(const ByteSource& source, const FileStart& start);

// Throws when the file is recognized as something else. `plausible`: its first bytes also make sense as the
// start of a safetensors file, which then is the better guess.
void refuse_foreign(const ByteSource& source, bool plausible);

}  // namespace warpload
