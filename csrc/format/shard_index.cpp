#include "format/shard_index.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "format/foreign_file.hpp"
#include "format/json.hpp"
#include "format/oddities.hpp"
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

// Collects "weight_map" from the index's tokens; of everything else at the top only whether "metadata" is an object.
class IndexBuilder final : public JsonHandler {
 public:
  IndexBuilder(const std::filesystem::path& path, IndexRules rules) : path_(path), rules_(rules) {}

  // Depth 0 is the index's own object, 1 its entries, 2 the names in the weight map.
  void on_token(JsonToken& token) override {
    if (token.depth == 0 && token.kind != JsonKind::kBeginObject && token.kind != JsonKind::kEndObject) {
      refuse(token, "the index must be an object, found " + std::string(describe(token.kind)));
    }
    if (token.depth == 1) on_entry(token);
    if (token.depth == 2 && entry_ == Entry::kWeightMap) on_weight(token);
  }

  [[nodiscard]] bool takes_repeated_key(std::string_view /*key*/, std::size_t /*depth*/) const override {
    return rules_ == IndexRules::as_published;
  }

  [[nodiscard]] ShardIndex take_index() {
    if (tensor_to_spelling_.empty()) {
      refuse_all(has_weight_map_ ? "the weight_map is empty" : "the index has no weight_map");
    }
    if (rules_ == IndexRules::as_published && !has_metadata_) {
      refuse_all("the index has no object called metadata, without which diffusers and transformers do not read it");
    }
    ShardIndex index;
    const std::map<std::string_view, std::size_t> positions = number_shards(index);
    for (const auto& [tensor, spelling] : tensor_to_spelling_) {
      index.tensor_to_shard.emplace_hint(index.tensor_to_shard.end(), tensor, positions.at(*spelling));
    }
    index.oddities = oddities_.list();
    return index;
  }

  // True while the entries of "weight_map" are being read.
  [[nodiscard]] bool in_weight_map() const noexcept { return entry_ == Entry::kWeightMap; }

 private:
  enum class Entry { kWeightMap, kMetadata, kOther };
  using Spellings = std::set<std::string>;

  // Lists the shards; returns where each spelling's shard is. One of several spellings is read several times by the
  // libraries: its last reading counts.
  [[nodiscard]] std::map<std::string_view, std::size_t> number_shards(ShardIndex& index) {
    std::set<std::string_view> used;  // not the spellings that a repeated key has replaced
    for (const auto& [tensor, spelling] : tensor_to_spelling_) used.insert(*spelling);
    std::vector<std::string> backwards;
    std::map<std::string, std::size_t> from_the_end;
    std::map<std::string_view, std::size_t> positions;
    for (auto spelling = used.rbegin(); spelling != used.rend(); ++spelling) {
      note_spelling(*spelling);
      // "./a" and "a" are the same shard.
      const std::string name = std::filesystem::path(*spelling).lexically_normal().string();
      const auto [shard, is_new] = from_the_end.emplace(name, backwards.size());
      if (is_new) backwards.push_back(name);
      positions.emplace(*spelling, shard->second);
    }
    for (auto& [spelling, position] : positions) position = backwards.size() - 1 - position;
    for (auto name = backwards.rbegin(); name != backwards.rend(); ++name) {
      index.shards.push_back(path_.parent_path() / *name);
    }
    return positions;
  }

  void note_spelling(std::string_view spelling) {
    const std::string shown = in_quotes(spelling);
    if (spelling.find('/') != std::string_view::npos) {
      note(OddityKind::path, "", "it names the shard " + shown + " by a path");
    }
    if (!spelling.ends_with(".safetensors")) {
      note(OddityKind::suffix, "", "it names the shard " + shown + ", which does not end in .safetensors");
    }
  }

  void note(OddityKind kind, const std::string& tensor, const std::string& what) {
    oddities_.add(kind, path_.string(), tensor, what);
  }

  [[noreturn]] void refuse_all(std::string reason) const {
    throw FormatError({.reason = std::move(reason), .path = path_.string(), .cure = kBadIndexCure});
  }

  [[noreturn]] void refuse(const JsonToken& token, std::string reason) const {
    throw FormatError({.reason = std::move(reason),
                       .path = path_.string(),
                       .tensor = tensor_,
                       .range = ByteRange{token.begin, token.end},
                       .cure = kBadIndexCure});
  }

  void on_entry(const JsonToken& token) {
    if (token.kind == JsonKind::kKey) return begin_entry(token.text);
    tensor_.clear();
    if (entry_ == Entry::kMetadata && token.kind == JsonKind::kBeginObject) has_metadata_ = true;
    if (entry_ != Entry::kWeightMap || token.kind == JsonKind::kEndObject) return;
    if (token.kind != JsonKind::kBeginObject) {
      refuse(token, "weight_map must be an object, found " + std::string(describe(token.kind)));
    }
    has_weight_map_ = true;
  }

  void begin_entry(std::string_view key) {
    entry_ = key == "weight_map" ? Entry::kWeightMap : key == "metadata" ? Entry::kMetadata : Entry::kOther;
    if (entry_ == Entry::kMetadata) has_metadata_ = false;  // where it comes twice the last counts
    if (entry_ == Entry::kWeightMap && has_weight_map_) {
      note(OddityKind::repeated_key, "", "it has weight_map twice, the last counts");
      tensor_to_spelling_.clear();
    }
  }

  void on_weight(JsonToken& token) {
    if (token.kind == JsonKind::kKey) {
      tensor_ = token.text;
      return;
    }
    if (token.kind != JsonKind::kString) {
      refuse(token, "a value of weight_map must be a file name, found " + std::string(describe(token.kind)));
    }
    if (const std::string_view fault = find_fault(token.text); !fault.empty()) {
      refuse(token, "the shard's name " + in_quotes(token.text) + " " + std::string(fault));
    }
    const auto spelling = spellings_.emplace(token.text).first;
    if (!tensor_to_spelling_.insert_or_assign(tensor_, spelling).second) {
      note(OddityKind::repeated_key, tensor_, "it is listed twice, the last counts");
    }
  }

  const std::filesystem::path& path_;
  IndexRules rules_;
  Entry entry_ = Entry::kOther;
  bool has_weight_map_ = false;
  bool has_metadata_ = false;
  std::string tensor_;
  Spellings spellings_;
  std::map<std::string, Spellings::const_iterator> tensor_to_spelling_;
  Oddities oddities_;
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

ShardIndex read_shard_index(const std::filesystem::path& index_path, IndexRules rules) {
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
  IndexBuilder builder(index_path, rules);
  if (std::optional<JsonError> error = parse_json(text, builder)) {
    refuse_json(file->path(), text, std::move(*error), builder.in_weight_map());
  }
  return builder.take_index();
}

}  // namespace warpload
