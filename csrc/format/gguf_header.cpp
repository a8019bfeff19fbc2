#include "format/gguf_header.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "format/foreign_file.hpp"
#include "format/ggml_types.hpp"
#include "format/gguf_cursor.hpp"
#include "format/gguf_metadata.hpp"
#include "format/header_length.hpp"
#include "format/shape.hpp"
#include "format/utf8.hpp"

namespace warpload {
namespace {

constexpr std::array<char, 4> kMagic{'G', 'G', 'U', 'F'};
constexpr std::uint32_t kOldestVersion = 2;
constexpr std::uint32_t kNewestVersion = 3;
constexpr std::uint32_t kMaxGgufAxes = 64;  // numpy's bound, and so the gguf package's
constexpr std::uint64_t kLeastTensorBytes = 8 + 4 + 4 + 8;

std::string in_brackets(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (const std::uint64_t extent : shape) text += (text.size() == 1 ? "" : ", ") + std::to_string(extent);
  return text + "]";
}

void check_version(GgufCursor& cursor) {
  const std::uint64_t begin = cursor.at();
  const auto version = cursor.number<std::uint32_t>();
  if (version != 0 && version % 0x10000 == 0) {
    cursor.refuse("the file is of the other byte order (big endian)", begin, "",
                  "convert it with gguf-convert-endian of the gguf package");
  }
  if (version < kOldestVersion || version > kNewestVersion) {
    cursor.refuse("version " + std::to_string(version) + " of the format is none of 2 and 3", begin, "",
                  "convert the model again with a newer tool, or update warpload if the version is newer");
  }
}

// The entries of the tensors. Every tensor leaves it correct in itself, with a range that still counts from data_begin;
// how tensors lie next to each other is not its business.
class TensorReader {
 public:
  TensorReader(GgufCursor& cursor, std::uint64_t alignment) noexcept : cursor_(cursor), alignment_(alignment) {}

  HeaderTensor read() {
    begin_ = cursor_.at();
    tensor_ = {};
    tensor_.name = cursor_.text("a tensor's name", kMaxGgufNameBytes);
    if (find_invalid_utf8(tensor_.name) != tensor_.name.size()) {
      cursor_.refuse("a tensor's name is not valid UTF-8", begin_);
    }
    if (!names_.insert(tensor_.name).second) refuse("two tensors have this name");
    read_shape();
    read_type();
    read_offset();
    return std::move(tensor_);
  }

 private:
  [[noreturn]] void refuse(std::string reason, std::string cure = kBadGgufCure) const {
    cursor_.refuse(std::move(reason), begin_, tensor_.name, std::move(cure));
  }

  void read_shape() {
    const auto axes = cursor_.number<std::uint32_t>();
    if (axes > kMaxGgufAxes) {
      refuse("a shape must not have more than " + std::to_string(kMaxGgufAxes) + " dimensions, found " +
             std::to_string(axes));
    }
    for (std::uint32_t axis = 0; axis < axes; ++axis) tensor_.shape.push_back(cursor_.number<std::uint64_t>());
    std::reverse(tensor_.shape.begin(), tensor_.shape.end());
  }

  // Makes the shape of a quantised tensor that of its bytes.
  void read_type() {
    const auto number = cursor_.number<std::uint32_t>();
    const std::optional<GgmlType> type = find_ggml_type(number);
    if (!type) {
      refuse(
          "unknown type of tensor " + std::to_string(number),
          "check the file, or update warpload if the type is new; types that ggml has given up need a new conversion");
    }
    tensor_.dtype = type->dtype;
    tensor_.blocks = type->blocks;
    if (!element_count(tensor_.shape)) refuse_overflow();
    if (!tensor_.blocks) return;
    const unsigned elements = block_elements(*tensor_.blocks);
    if (tensor_.shape.empty() || tensor_.shape.back() % elements != 0) {
      refuse("the rows of shape " + in_brackets(tensor_.shape) + " are no whole blocks of " +
             std::string(block_type_name(*tensor_.blocks)) + ", of " + std::to_string(elements) + " numbers each");
    }
    tensor_.shape.back() = tensor_.shape.back() / elements * block_bytes(*tensor_.blocks);
  }

  [[noreturn]] void refuse_overflow() const {
    refuse("the size of shape " + in_brackets(tensor_.shape) + " overflows 64 bits");
  }

  void read_offset() {
    const auto offset = cursor_.number<std::uint64_t>();
    if (offset % alignment_ != 0) {
      refuse("its data begin at " + std::to_string(offset) + ", which is no multiple of the alignment " +
             std::to_string(alignment_));
    }
    const std::optional<std::uint64_t> count = element_count(tensor_.shape);
    std::uint64_t size = 0;
    std::uint64_t end = 0;
    if (!count || __builtin_mul_overflow(*count, std::uint64_t{dtype_bits(tensor_.dtype) / 8}, &size))
      refuse_overflow();
    if (__builtin_add_overflow(offset, size, &end)) refuse("its data end above 2^64");
    if (!has_strides(tensor_.dtype, tensor_.shape)) {
      refuse("no tensor can have the shape " + in_brackets(tensor_.shape) +
             ": its extents and strides have to be below 2^63");
    }
    tensor_.range = {offset, end};
  }

  GgufCursor& cursor_;
  std::uint64_t alignment_;
  std::unordered_set<std::string> names_;

  // The entry being read.
  std::uint64_t begin_ = 0;
  HeaderTensor tensor_;
};

bool lies_before(const HeaderTensor& left, const HeaderTensor& right) {
  if (left.range.begin != right.range.begin) return left.range.begin < right.range.begin;
  if (left.range.end != right.range.end) return left.range.end < right.range.end;
  return left.name < right.name;
}

// Sorts the tensors, has their ranges count from the start of the file, and checks that none overlaps another or goes
// beyond the file's end. Those without bytes lie nowhere.
void locate_tensors(const ByteSource& source, GgufHeader& header) {
  std::sort(header.tensors.begin(), header.tensors.end(), lies_before);
  const auto refuse = [&source](std::string reason, const HeaderTensor& tensor, ByteRange range, const char* cure) {
    throw FormatError(
        {.reason = std::move(reason), .path = source.path(), .tensor = tensor.name, .range = range, .cure = cure});
  };
  std::uint64_t covered = header.data_begin;
  const HeaderTensor* previous = nullptr;
  for (HeaderTensor& tensor : header.tensors) {
    if (tensor.range.end > std::numeric_limits<std::uint64_t>::max() - header.data_begin) {
      refuse("its data end above 2^64", tensor, {source.size(), source.size()}, kBadGgufCure);
    }
    tensor.range = {header.data_begin + tensor.range.begin, header.data_begin + tensor.range.end};
    if (tensor.range.size() == 0) continue;
    if (tensor.range.begin < covered) {
      refuse("its data overlap those of tensor '" + previous->name + "'", tensor,
             {tensor.range.begin, std::min(covered, tensor.range.end)}, kBadGgufCure);
    }
    covered = tensor.range.end;
    previous = &tensor;
    if (covered > source.size()) {
      refuse("the file is truncated: " + std::to_string(covered - source.size()) + " bytes of the tensor are missing",
             tensor, {std::max(source.size(), tensor.range.begin), covered}, kDownloadAgain);
    }
  }
}

}  // namespace

bool is_gguf(const FileStart& start) noexcept { return std::memcmp(start.data(), kMagic.data(), kMagic.size()) == 0; }

void refuse_no_gguf(const ByteSource& source) {
  refuse_foreign(source, false);
  throw FormatError({.reason = source.size() == 0
                                   ? "the file is empty"
                                   : "the file does not begin with GGUF: not a GGUF file, or a damaged one",
                     .path = source.path(),
                     .range = ByteRange{0, std::min<std::uint64_t>(source.size(), kMagic.size())},
                     .cure = kDownloadAgain});
}

GgufHeader read_gguf_header(const ByteSource& source) {
  GgufCursor cursor(source, kMagic.size());
  check_version(cursor);
  const std::uint64_t tensor_count = cursor.count("tensors", kLeastTensorBytes);
  GgufMetadata metadata = read_gguf_metadata(cursor, cursor.count("pairs of metadata", kLeastPairBytes));
  GgufHeader header;
  header.metadata = std::move(metadata.values);
  TensorReader reader(cursor, metadata.alignment);
  for (std::uint64_t tensor = 0; tensor < tensor_count; ++tensor) header.tensors.push_back(reader.read());
  header.data_begin = (cursor.at() + metadata.alignment - 1) / metadata.alignment * metadata.alignment;
  locate_tensors(source, header);
  return header;
}

}  // namespace warpload
