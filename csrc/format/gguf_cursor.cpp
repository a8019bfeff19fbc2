#include "format/gguf_cursor.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "format/foreign_file.hpp"

namespace warpload {
namespace {

constexpr std::uint64_t kBufferBytes = std::uint64_t{64} << 10;

}  // namespace

std::uint64_t GgufCursor::count(const char* what, std::uint64_t least_bytes) {
  const std::uint64_t begin = at_;
  const auto announced = number<std::uint64_t>();
  if (announced > left() / least_bytes) {
    refuse("the header announces " + std::to_string(announced) + " " + what + ", for which the file is too small",
           begin);
  }
  return announced;
}

std::string GgufCursor::text(const char* what, std::uint64_t longest) {
  const std::uint64_t begin = at_;
  const std::uint64_t length = count("bytes of text", 1);
  if (length > longest) {
    refuse(std::string(what) + " has " + std::to_string(length) + " bytes, more than " + std::to_string(longest),
           begin);
  }
  return bytes(length);
}

std::string GgufCursor::bytes(std::uint64_t length) {
  std::string value(length, '\0');
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t part = std::min<std::uint64_t>(length - done, kBufferBytes);
    std::memcpy(value.data() + done, take(part), part);
    done += part;
  }
  return value;
}

void GgufCursor::refuse(std::string reason, std::uint64_t begin, std::string tensor, std::string cure) const {
  throw FormatError({.reason = std::move(reason),
                     .path = source_.path(),
                     .tensor = std::move(tensor),
                     .range = ByteRange{begin, std::max(at_, begin)},
                     .cure = std::move(cure)});
}

const std::byte* GgufCursor::take(std::size_t bytes) {
  if (bytes > left()) refuse_cut(bytes);
  if (at_ < buffer_begin_ || at_ + bytes > buffer_begin_ + buffer_.size()) {
    buffer_.resize(std::min(kBufferBytes, left()));
    source_.read_exact(at_, buffer_);
    buffer_begin_ = at_;
  }
  const std::byte* const found = buffer_.data() + (at_ - buffer_begin_);
  at_ += bytes;
  return found;
}

void GgufCursor::refuse_cut(std::uint64_t bytes) const {
  throw FormatError({.reason = "the file is truncated inside its header",
                     .path = source_.path(),
                     .range = ByteRange{source_.size(), at_ + bytes},
                     .cure = kDownloadAgain});
}

}  // namespace warpload
