#include "format/shard_index.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "format/foreign_file.hpp"
#include "format/json.hpp"
#include "io/file.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::uint64_t kMaxIndexBytes = std::uint64_t{256} << 20;
constexpr const char* kBadIndexCure = "the index is damaged or its writer is broken: download or save it again";

// Why `name` does not name a file inside the index's folder; empty when it does.
std::string_view find_fault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.find('\0') != std::string_view::npos) return "contains a NUL byte";
  if (name.front() == '/') return "is an absolute path";
  if (name.back() == '/') return "is a folder";
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view component = name.substr(begin, end - begin);
    if (component == "..") return "climbs out of the folder by '..'";
    if (component == "." && end == name.size()) return "is a folder";
    begin = end + 1;
  }
  return {};
}

// Collects "weight_map" from the index's tokens; everything else at the top is skipped.
class IndexBuilder final : public JsonHandler {
 public:
  explicit IndexBuilder(const std::filesystem::path& path) : path_(path) {}

  // Depth 0 is the index's own object, 1 its entries, 2 the names in the weight map.
  void on_token(JsonToken& token) override {
    if (token.depth == 0 && token.kind != JsonKind::kBeginObject && token.kind != JsonKind::kEndObject) {
      refuse(token, "the index must be an object, found " + std::string(describe(token.kind)));
    }
    if (token.depth == 1) on_entry(token);
    if (token.depth == 2 && in_weight_map_) on_weight(token);
  }

  // Numbers the shards in the order of their names.
  [[nodiscard]] ShardIndex take_index() {
    if (tensor_to_name_.empty()) {
      const char* reason = has_weight_map_ ? "the weight_map is empty" : "the index has no weight_map";
      throw FormatError({.reason = reason, .path = path_.string(), .cure = kBadIndexCure});
    }
    ShardIndex index;
    for (auto& [name, position] : shards_) {
      position = index.shards.size();
      index.shards.push_back(path_.parent_path() / name);
    }
    for (auto& [tensor, shard] : tensor_to_name_) {
      index.tensor_to_shard.emplace_hint(index.tensor_to_shard.end(), tensor, shard->second);
    }
    return index;
  }

  // True while the entries of "weight_map" are being read.
  [[nodiscard]] bool in_weight_map() const noexcept { return in_weight_map_; }

 private:
  using Shards = std::map<std::string, std::size_t>;

  [[noreturn]] void refuse(const JsonToken& token, std::string reason) const {
    throw FormatError({.reason = std::move(reason),
                       .path = path_.string(),
                       .tensor = tensor_,
                       .range = ByteRange{token.begin, token.end},
                       .cure = kBadIndexCure});
  }

  void on_entry(const JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      in_weight_map_ = token.text == "weight_map";
      return;
    }
    tensor_.clear();
    if (!in_weight_map_ || token.kind == JsonKind::kEndObject) return;
    if (token.kind != JsonKind::kBeginObject) {
      refuse(token, "weight_map must be an object, found " + std::string(describe(token.kind)));
    }
    has_weight_map_ = true;
  }

  void on_weight(JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      tensor_ = std::move(token.text);
      return;
    }
    if (token.kind != JsonKind::kString) {
      refuse(token, "a value of weight_map must be a file name, found " + std::string(describe(token.kind)));
    }
    if (const std::string_view fault = find_fault(token.text); !fault.empty()) {
      refuse(token, "the shard's name " + in_quotes(token.text) + " " + std::string(fault));
    }
    // "./a" and "a" are the same shard.
    const auto shard = shards_.try_emplace(std::filesystem::path(token.text).lexically_normal().string()).first;
    tensor_to_name_.emplace(tensor_, shard);
  }

  const std::filesystem::path& path_;
  bool in_weight_map_ = false;
  bool has_weight_map_ = false;
  std::string tensor_;
  Shards shards_;
  std::map<std::string, Shards::iterator> tensor_to_name_;
};

[[noreturn]] void refuse_json(const std::string& path, std::string_view text, JsonError error, bool in_weight_map) {
  // An index is JSON text itself, so that is no sign of a wrong file.
  if (const std::optional<ForeignFile> foreign = recognize_foreign_file(text.substr(0, kForeignPrefixBytes));
      foreign && !text.starts_with('{')) {
    throw FormatError(
        {.reason = foreign->reason, .path = path, .range = ByteRange{0, text.size()}, .cure = foreign->cure});
  }
  const bool is_duplicate_tensor = error.kind == JsonErrorKind::kDuplicateKey && error.depth == 2 && in_weight_map;
  throw FormatError({.reason = error.kind == JsonErrorKind::kSyntax ? "the index is not valid JSON: " + error.reason
                                                                    : std::move(error.reason),
                     .path = path,
                     .tensor = is_duplicate_tensor ? std::move(error.duplicate_key) : "",
                     .range = ByteRange{error.offset, std::min(error.offset + 1, text.size())},
                     .cure = kBadIndexCure});
}

}  // namespace

ShardIndex read_shard_index(const std::filesystem::path& index_path) {
  const std::shared_ptr<const File> file = File::open(index_path);
  if (file->size() == 0) {
    throw FormatError({.reason = "the file is empty", .path = file->path(), .cure = kDownloadAgain});
  }
  if (file->size() > kMaxIndexBytes) {
    throw FormatError({.reason = "the index has " + std::to_string(file->size()) + " bytes, above the limit of " +
                                 std::to_string(kMaxIndexBytes),
                       .path = file->path(),
                       .cure = "check that the path names the index, not a shard"});
  }
  const auto size = static_cast<std::size_t>(file->size());
  const auto bytes = std::make_unique_for_overwrite<char[]>(size);
  file->read_exact(0, std::as_writable_bytes(std::span(bytes.get(), size)));

  const std::string_view text(bytes.get(), size);
  IndexBuilder builder(index_path);
  if (std::optional<JsonError> error = parse_json(text, builder)) {
    refuse_json(file->path(), text, std::move(*error), builder.in_weight_map());
  }
  return builder.take_index();
}

}  // namespace warpload
