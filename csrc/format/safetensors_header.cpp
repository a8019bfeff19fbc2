#include "format/safetensors_header.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "format/foreign_file.hpp"
#include "format/header_length.hpp"
#include "format/json.hpp"
#include "format/oddities.hpp"
#include "format/shape.hpp"

namespace warpload {
namespace {

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr const char* kBadHeaderCure =
    "the file is damaged or its writer is broken: download it again or save it again with the safetensors "
    "package";

// Offsets in a header are anything up to 2^64 - 1; those that only appear in messages must not wrap around.
std::uint64_t add_saturated(std::uint64_t left, std::uint64_t right) noexcept {
  std::uint64_t sum = 0;
  return __builtin_add_overflow(left, right, &sum) ? std::numeric_limits<std::uint64_t>::max() : sum;
}

std::string in_brackets(const std::vector<std::uint64_t>& shape) {
  constexpr std::size_t kMaxShown = 16;
  std::string text = "[";
  for (std::size_t index = 0; index < std::min(shape.size(), kMaxShown); ++index) {
    if (index != 0) text += ", ";
    text += std::to_string(shape[index]);
  }
  return text + (shape.size() > kMaxShown ? ", ...]" : "]");
}

// Collects tensors and metadata from the header's tokens. Every tensor leaves it correct in itself, with a
// range that still counts from data_begin; how tensors lie next to each other is not its business.
class HeaderBuilder final : public JsonHandler {
 public:
  HeaderBuilder(const std::string& path, std::string_view text) noexcept : path_(path), text_(text) {}

  // Depth 0 is the header's own object, 1 its entries, 2 the fields of one entry, 3 the numbers in a field or the one
  // key of a dtype that is an object.
  void on_token(JsonToken& token) override {
    switch (token.depth) {
      case 0:
        return on_root(token);
      case 1:
        return on_entry(token);
      case 2:
        return in_metadata_ ? on_metadata(token) : on_field(token);
      case 3:
        return field_ == Field::kDType ? on_variant(token) : on_number(token);
      default:
        return;
    }
  }

  // As the reference: of the metadata's values of one key the last counts, and what stands in unknown fields is
  // nobody's business. Two tensors of one name it takes as well, but which is meant nobody knows.
  [[nodiscard]] bool takes_repeated_key(std::string_view key, std::size_t depth) const override {
    if (depth != 2 || in_metadata_) return depth >= 2;
    return key != "dtype" && key != "shape" && key != "data_offsets";
  }

  [[nodiscard]] SafetensorsHeader take_header() {
    header_.oddities = oddities_.list();
    return std::move(header_);
  }

  // Name of the tensor whose entry is being read, "" within the metadata.
  [[nodiscard]] std::string current_tensor() const { return in_metadata_ ? "" : tensor_.name; }

 private:
  enum class Field { kDType, kShape, kDataOffsets, kNone };  // the first three in the order of an array's elements

  [[noreturn]] void refuse(const JsonToken& token, std::string reason, std::string cure = kBadHeaderCure) const {
    throw FormatError({.reason = std::move(reason),
                       .path = path_,
                       .tensor = current_tensor(),
                       .range = ByteRange{kLengthBytes + token.begin, kLengthBytes + token.end},
                       .cure = std::move(cure)});
  }

  [[nodiscard]] std::string found(const JsonToken& token) const {
    if (token.kind == JsonKind::kUnsigned || token.kind == JsonKind::kOtherNumber) {
      return "found " + in_quotes(text_.substr(token.begin, token.end - token.begin));
    }
    return "found " + std::string(describe(token.kind));
  }

  void on_root(const JsonToken& token) const {
    if (token.kind == JsonKind::kBeginObject || token.kind == JsonKind::kEndObject) return;
    refuse(token, "the header does not start with '{': it must be an object, " + found(token));
  }

  void on_entry(JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      in_metadata_ = token.text == kMetadataKey;
      tensor_ = {};
      tensor_.name = token.text;
      has_dtype_ = has_shape_ = has_offsets_ = is_array_ = false;
      field_ = Field::kNone;
      entry_begin_ = token.begin;
    } else if (token.kind == JsonKind::kEndObject || token.kind == JsonKind::kEndArray) {
      if (!in_metadata_) finish_tensor(token);
    } else if (in_metadata_) {
      // The reference takes null for no metadata.
      if (token.kind != JsonKind::kBeginObject && token.kind != JsonKind::kNull) {
        refuse(token, "__metadata__ must be an object of strings, " + found(token));
      }
      if (token.kind == JsonKind::kBeginObject) header_.metadata.emplace();
    } else if (token.kind == JsonKind::kBeginArray) {
      is_array_ = true;
      elements_ = 0;
      note("its entry is an array, not an object");
    } else if (token.kind != JsonKind::kBeginObject) {
      refuse(token, "a tensor's entry must be an object, " + found(token));
    }
  }

  void note(const std::string& what) { oddities_.add(OddityKind::header, path_, current_tensor(), what); }

  void on_metadata(JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      metadata_key_ = token.text;
      if (header_.metadata->contains(metadata_key_)) {
        note("__metadata__ has the key " + in_quotes(metadata_key_) + " twice, the last counts");
      }
    } else if (token.kind == JsonKind::kString) {
      header_.metadata->insert_or_assign(std::move(metadata_key_), token.text);
    } else {
      refuse(token, "__metadata__ must be an object of strings, but the value of " + in_quotes(metadata_key_) +
                        " is not a string: " + found(token));
    }
  }

  void on_field(const JsonToken& token) {
    if (is_array_ && token.kind != JsonKind::kEndArray && token.kind != JsonKind::kEndObject) begin_element(token);
    if (!is_array_ && token.kind == JsonKind::kKey) return begin_field(token);
    switch (field_) {
      case Field::kDType:
        return on_dtype(token);
      case Field::kShape:
        if (token.kind == JsonKind::kEndArray) return;
        if (token.kind != JsonKind::kBeginArray) refuse(token, "shape must be an array, " + found(token));
        has_shape_ = true;
        return;
      case Field::kDataOffsets:
        if (token.kind == JsonKind::kBeginArray) return;
        if (token.kind != JsonKind::kEndArray) refuse(token, "data_offsets must be an array, " + found(token));
        return end_offsets(token);
      case Field::kNone:
        return;
    }
  }

  void begin_field(const JsonToken& token) {
    if (token.text == "dtype") {
      field_ = Field::kDType;
    } else if (token.text == "shape") {
      field_ = Field::kShape;
    } else if (token.text == "data_offsets") {
      field_ = Field::kDataOffsets;
      offset_count_ = 0;
    } else {
      field_ = Field::kNone;
      note("its entry has the unknown field " + in_quotes(token.text));
    }
  }

  // An entry that is an array has the fields' values without their names.
  void begin_element(const JsonToken& token) {
    if (elements_ == static_cast<std::size_t>(Field::kNone)) {
      refuse(token, "an entry that is an array must have three elements, found more");
    }
    field_ = static_cast<Field>(elements_++);
    offset_count_ = 0;
  }

  // The reference takes {"F32": null} for "F32".
  void on_dtype(const JsonToken& token) {
    if (token.kind == JsonKind::kBeginObject) {
      note("its dtype is an object, not a string");
    } else if (token.kind == JsonKind::kEndObject) {
      if (!has_dtype_) refuse(token, "a dtype that is an object must have one key, found none");
    } else if (token.kind == JsonKind::kString) {
      set_dtype(token);
    } else {
      refuse(token, "dtype must be a string, " + found(token));
    }
  }

  // Within a dtype that is an object.
  void on_variant(const JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      if (has_dtype_) refuse(token, "a dtype that is an object must have one key, found more");
      set_dtype(token);
    } else if (token.kind != JsonKind::kNull) {
      refuse(token, "a dtype that is an object must be null at its key, " + found(token));
    }
  }

  void set_dtype(const JsonToken& token) {
    const std::optional<DType> dtype = parse_dtype(token.text);
    if (!dtype) {
      refuse(token, "unknown dtype " + in_quotes(token.text), "check the file, or update warpload if the dtype is new");
    }
    tensor_.dtype = *dtype;
    has_dtype_ = true;
  }

  void on_number(const JsonToken& token) {
    if (field_ == Field::kNone) return;
    if (field_ == Field::kShape) {
      if (token.kind != JsonKind::kUnsigned) {
        refuse(token, "a dimension must be an integer from 0 to 2^64 - 1, " + found(token));
      }
      if (tensor_.shape.size() == kMaxAxes) {
        refuse(token, "a shape must not have more than " + std::to_string(kMaxAxes) + " dimensions");
      }
      tensor_.shape.push_back(token.number);
      return;
    }
    if (token.kind != JsonKind::kUnsigned) {
      refuse(token, "an offset must be an integer from 0 to 2^64 - 1, " + found(token));
    }
    if (offset_count_ == offsets_.size()) refuse(token, "data_offsets must have two numbers, found more");
    offsets_[offset_count_++] = token.number;
  }

  void end_offsets(const JsonToken& token) {
    if (offset_count_ != offsets_.size()) {
      refuse(token, "data_offsets must have two numbers, found " + std::to_string(offset_count_));
    }
    tensor_.range = {offsets_[0], offsets_[1]};
    has_offsets_ = true;
  }

  void finish_tensor(const JsonToken& token) {
    JsonToken entry{.begin = entry_begin_, .end = token.end};
    const char* const missing = !has_dtype_     ? "dtype"
                                : !has_shape_   ? "shape"
                                : !has_offsets_ ? "data_offsets"
                                                : nullptr;
    if (missing != nullptr) refuse(entry, std::string("the field ") + missing + " is missing");
    if (tensor_.range.begin > tensor_.range.end) {
      refuse(entry, "data_offsets end before they begin: " + std::to_string(tensor_.range.begin) + " > " +
                        std::to_string(tensor_.range.end));
    }
    const std::uint64_t expected = byte_size(entry);
    if (expected != tensor_.range.size()) {
      refuse(entry, std::string(dtype_name(tensor_.dtype)) + in_brackets(tensor_.shape) + " takes " +
                        std::to_string(expected) + " bytes, but data_offsets span " +
                        std::to_string(tensor_.range.size()));
    }
    if (!has_strides(tensor_.dtype, tensor_.shape)) {
      refuse(entry, "no tensor can have the shape " + in_brackets(tensor_.shape) +
                        ": its extents and strides have to be below 2^63");
    }
    header_.tensors.push_back(std::move(tensor_));
  }

  // The product runs in the order of the dimensions, as the reference's does: a product that overflows before
  // it meets a 0 is an overflow.
  [[nodiscard]] std::uint64_t byte_size(const JsonToken& entry) const {
    const std::optional<std::uint64_t> count = element_count(tensor_.shape);
    std::uint64_t bits = 0;
    if (!count || __builtin_mul_overflow(*count, std::uint64_t{dtype_bits(tensor_.dtype)}, &bits)) {
      refuse(entry, "the size of shape " + in_brackets(tensor_.shape) + " overflows 64 bits");
    }
    if (bits % 8 != 0) {
      refuse(entry, "the elements of " + std::string(dtype_name(tensor_.dtype)) + in_brackets(tensor_.shape) +
                        " do not fill whole bytes: " + std::to_string(bits) + " bits");
    }
    return bits / 8;
  }

  const std::string& path_;
  std::string_view text_;
  SafetensorsHeader header_;
  Oddities oddities_;

  // The entry being read.
  bool in_metadata_ = false;
  bool is_array_ = false;
  std::size_t elements_ = 0;  // of an array, so far
  std::size_t entry_begin_ = 0;
  std::string metadata_key_;
  HeaderTensor tensor_;
  Field field_ = Field::kNone;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t offset_count_ = 0;
};

[[noreturn]] void refuse_json(const ByteSource& source, JsonError error, std::uint64_t length, std::string tensor) {
  std::string reason = std::move(error.reason);
  if (error.kind == JsonErrorKind::kInvalidUtf8) reason = "the header is not valid UTF-8";
  if (error.kind == JsonErrorKind::kSyntax) reason = "the header is not valid JSON: " + reason;
  if (error.kind == JsonErrorKind::kDuplicateKey && error.depth == 1) {
    tensor = error.duplicate_key == kMetadataKey ? "" : std::move(error.duplicate_key);
  }
  const std::uint64_t end = kLengthBytes + length;
  const std::uint64_t begin = kLengthBytes + error.offset;
  throw FormatError({.reason = std::move(reason),
                     .path = source.path(),
                     .tensor = error.kind == JsonErrorKind::kDuplicateKey ? std::move(tensor) : "",
                     .range = ByteRange{begin, std::min(begin + 1, end)},
                     .cure = kBadHeaderCure});
}

SafetensorsHeader parse_header(const ByteSource& source, std::string_view text) {
  const std::size_t first = std::min(text.find_first_not_of(kWhiteSpace), text.size());
  if (first == text.size() || text[first] != '{') refuse_foreign(source, false);
  HeaderBuilder builder(source.path(), text);
  if (std::optional<JsonError> error = parse_json(text, builder)) {
    refuse_json(source, std::move(*error), text.size(), builder.current_tensor());
  }
  return builder.take_header();
}

// Checks that the sorted tensors cover the data section without holes and overlaps:
//
//   0        covered           data_size
//   | a | b  |  c   | ...      |
//            ^ c.begin must be here: before it is an overlap with b, after it a hole
//
// Ranges count from data_begin until here, and from the start of the file afterwards.
void locate_tensors(const ByteSource& source, SafetensorsHeader& header) {
  const std::uint64_t data_size = source.size() - header.data_begin;
  const auto refuse = [&](std::string reason, std::string tensor, ByteRange range, const char* cure) {
    throw FormatError(
        {.reason = std::move(reason),
         .path = source.path(),
         .tensor = std::move(tensor),
         .range = ByteRange{add_saturated(header.data_begin, range.begin), add_saturated(header.data_begin, range.end)},
         .cure = cure});
  };
  std::uint64_t covered = 0;
  const HeaderTensor* previous = nullptr;
  const HeaderTensor* first_cut = nullptr;
  for (const HeaderTensor& tensor : header.tensors) {
    if (tensor.range.begin < covered) {
      refuse("its data overlap those of tensor " + in_quotes(previous->name), tensor.name,
             {tensor.range.begin, std::min(covered, std::max(tensor.range.end, tensor.range.begin + 1))},
             kBadHeaderCure);
    }
    if (tensor.range.begin > covered) {
      refuse("there is a hole of " + std::to_string(tensor.range.begin - covered) + " bytes before its data",
             tensor.name, {covered, tensor.range.begin}, kBadHeaderCure);
    }
    covered = tensor.range.end;
    previous = &tensor;
    if (first_cut == nullptr && covered > data_size) first_cut = &tensor;
  }
  if (first_cut != nullptr) {
    refuse("the file is truncated: " + std::to_string(covered - data_size) + " bytes are missing at its end",
           first_cut->name, {data_size, covered}, kDownloadAgain);
  }
  if (covered < data_size) {
    refuse(std::to_string(data_size - covered) + " bytes follow the last tensor and belong to none", "",
           {covered, data_size}, kBadHeaderCure);
  }
  for (HeaderTensor& tensor : header.tensors) {
    tensor.range = {header.data_begin + tensor.range.begin, header.data_begin + tensor.range.end};
  }
}

}  // namespace

SafetensorsHeader read_safetensors_header(const ByteSource& source) {
  return read_safetensors_header(source, read_start(source));
}

SafetensorsHeader read_safetensors_header(const ByteSource& source, const FileStart& start) {
  const std::uint64_t length = read_header_length(source, start);
  const auto text = std::make_unique_for_overwrite<char[]>(length);
  source.read_exact(kLengthBytes, std::as_writable_bytes(std::span(text.get(), length)));

  SafetensorsHeader header = parse_header(source, {text.get(), length});
  header.data_begin = kLengthBytes + length;
  std::sort(header.tensors.begin(), header.tensors.end(), [](const HeaderTensor& left, const HeaderTensor& right) {
    if (left.range.begin != right.range.begin) return left.range.begin < right.range.begin;
    if (left.range.end != right.range.end) return left.range.end < right.range.end;
    return left.name < right.name;
  });
  locate_tensors(source, header);
  return header;
}

}  // namespace warpload
