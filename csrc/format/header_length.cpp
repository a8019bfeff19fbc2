#include "format/header_length.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "format/foreign_file.hpp"
#include "format/safetensors_header.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// True when what follows the length, if anything does, starts as a header does.
bool starts_as_header(const ByteSource& source) {
  if (source.size() <= kLengthBytes) return true;
  char first = 0;
  source.read_exact(kLengthBytes, std::as_writable_bytes(std::span(&first, 1)));
  return first == '{' || kWhiteSpace.find(first) != std::string_view::npos;
}

}  // namespace

void refuse_foreign(const ByteSource& source, bool plausible) {
  if (plausible) return;
  std::string prefix(std::min<std::uint64_t>(source.size(), kForeignPrefixBytes), '\0');
  source.read_exact(0, std::as_writable_bytes(std::span(prefix)));
  if (std::optional<ForeignFile> foreign = recognize_foreign_file(prefix)) {
    throw FormatError({.reason = std::move(foreign->reason),
                       .path = source.path(),
                       .range = ByteRange{0, source.size()},
                       .cure = std::move(foreign->cure)});
  }
}

std::uint64_t read_header_length(const ByteSource& source, const FileStart& start) {
  const std::uint64_t size = source.size();
  const auto refuse = [&source](std::string reason, ByteRange range, const char* cure) {
    throw FormatError({.reason = std::move(reason), .path = source.path(), .range = range, .cure = cure});
  };
  if (size == 0) refuse("the file is empty", {0, 0}, kDownloadAgain);
  if (size < kLengthBytes) {
    refuse_foreign(source, false);
    refuse("the file has " + std::to_string(size) + " bytes; a safetensors file has at least 8", {0, size},
           kDownloadAgain);
  }
  std::uint64_t length = 0;
  for (std::size_t index = kLengthBytes; index-- > 0;)
    length = length << 8 | std::to_integer<std::uint64_t>(start[index]);

  if (length == 0) refuse("the header's length is 0", {0, kLengthBytes}, kDownloadAgain);
  if (length > kMaxHeaderBytes) {
    refuse_foreign(source, false);
    refuse("the header's length, " + std::to_string(length) + " bytes, is above the format's limit of " +
               std::to_string(kMaxHeaderBytes) + ": not a safetensors file, or a damaged one",
           {0, kLengthBytes}, kDownloadAgain);
  }
  if (length > size - kLengthBytes) {
    refuse_foreign(source, starts_as_header(source));
    const std::uint64_t missing = length - (size - kLengthBytes);
    refuse("the file is truncated inside its header: " + std::to_string(missing) + " of the header's " +
               std::to_string(length) + " bytes are missing",
           {size, kLengthBytes + length}, kDownloadAgain);
  }
  return length;
}

}  // namespace warpload
