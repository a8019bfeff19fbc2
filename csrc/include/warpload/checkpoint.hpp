/// @file
/// A set of safetensors shards, opened and validated, read by no one yet.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "warpload/dtype.hpp"
#include "warpload/error.hpp"
#include "warpload/export.h"

namespace warpload {

class ByteSource;
class File;

/// One tensor as its shard describes it.
struct TensorInfo {
  std::string name;                  ///< As in the file.
  DType dtype = DType::u8;           ///< The file's.
  std::vector<std::uint64_t> shape;  ///< Elements along each axis; empty for a scalar.
  std::size_t shard = 0;             ///< Position in the checkpoint's list of shards.
  ByteRange range;                   ///< Absolute offsets in that shard's file.
};

/// A tensor that is in the host's memory already: row-major, contiguous.
struct MemoryTensor {
  std::string name;                  ///< Under which it will be found.
  DType dtype = DType::u8;           ///< What the bytes are.
  std::vector<std::uint64_t> shape;  ///< Elements along each axis; empty for a scalar.
  std::span<const std::byte> bytes;  ///< All of them; they have to stay as they are until the load has ended.
  std::shared_ptr<void> owner;       ///< Keeps the bytes; may be dropped on any thread.
};

/// How an index is to be understood.
enum class IndexRules : std::uint8_t {
  /// Index and shards have to leave no doubt which tensors are meant.
  strict,
  /// As diffusers and transformers understand it: the shards count, and of two copies of a tensor that of the later
  /// shard. What both libraries refuse is refused.
  as_published,
};

/// What may be odd about a checkpoint that is loaded all the same.
enum class OddityKind : std::uint8_t {
  header,            ///< A header in a spelling that no writer needs: unknown fields, an entry that is an array, ...
  repeated_key,      ///< The index has a key twice; the last counts.
  path,              ///< The index names a shard by a path, not by a plain name.
  suffix,            ///< The index names a shard whose name does not end in ".safetensors".
  absent,            ///< The index lists a tensor that no shard has.
  unlisted,          ///< A shard has a tensor that the index does not list.
  misplaced,         ///< The index lists a tensor for a shard that lacks it; another one has it.
  stale_copy,        ///< Several shards have the tensor; that of the last one counts.
  conflicting_copy,  ///< Likewise, and the copies differ in dtype or shape.
};

/// The kind in words.
[[nodiscard]] WARPLOAD_API std::string_view oddity_name(OddityKind kind) noexcept;

/// One of them.
struct Oddity {
  OddityKind kind = OddityKind::header;  ///< The kind.
  std::string path;                      ///< The file.
  std::string tensor;                    ///< The first tensor that it is about, or empty.
  std::string what;                      ///< In a few words.
  std::size_t more = 0;                  ///< How many others of the kind there are in the file.
};

/// "PATH: tensor 'NAME': WHAT (and N more like it)", absent parts left out.
[[nodiscard]] WARPLOAD_API std::string describe(const Oddity& oddity);

/// All headers of a checkpoint. Opening checks every rule of the format in every shard before anything is allocated for
/// tensors; tensor data is not touched.
///
/// Ownership: shared and immutable; keeps what the shards hold, but not a descriptor for each: a process has a few of
/// all its checkpoints' shards open, those that were used last, and opens others again by their paths. Tensors that
/// were loaded do not need it any more. Threads: every member may be called from any thread.
class WARPLOAD_API Checkpoint {
 public:
  /// How a checkpoint is held.
  using Ptr = std::shared_ptr<const Checkpoint>;

  /// Opens shards in the order given, or, where the list is one index file (see is_index), what it lists.
  ///
  /// @throws IoError when a file is missing or unreadable.
  /// @throws FormatError naming file, offset and reason when a header or the index breaks a rule, and when two shards
  ///         hold a tensor of one name: no order between them is given.
  /// @throws InvalidArgumentError when the list is empty.
  [[nodiscard]] static Ptr open(const std::vector<std::filesystem::path>& shards,
                                IndexRules rules = IndexRules::strict);

  /// Opens a single shard or an index file.
  [[nodiscard]] static Ptr open(const std::convertible_to<std::filesystem::path> auto& file,
                                IndexRules rules = IndexRules::strict) {
    return open(std::vector<std::filesystem::path>{std::filesystem::path(file)}, rules);
  }

  /// Opens the shards that an index lists, whatever the index is called.
  ///
  /// A tensor that another shard has than the index says is taken from there; of several copies that of the shard whose
  /// name comes last. `oddities` tells of both.
  ///
  /// @throws FormatError, beyond what `open` throws, when the index names a shard outside its folder. By the strict
  /// rules
  ///         also when it lists a tensor that no shard has, when several shards have a tensor and the index means
  ///         another one than the last, and when it has a key twice; by the others when it has no "metadata".
  [[nodiscard]] static Ptr open_index(const std::filesystem::path& index, IndexRules rules = IndexRules::strict);

  /// True for names like "model.safetensors.index.json" and "model.safetensors.index.fp16.json".
  [[nodiscard]] static bool is_index(const std::filesystem::path& file);

  /// Opens shards that the caller reads; they are read positionally and never mapped. Throws what `open` throws.
  [[nodiscard]] static Ptr from_sources(std::vector<std::shared_ptr<const ByteSource>> sources);

  /// Tensors from memory, each a shard of its own, to be brought to a device like those of a file.
  ///
  /// @throws InvalidArgumentError when a size does not follow from dtype and shape, when no tensor can have the
  ///         shape, or when two have one name.
  [[nodiscard]] static Ptr from_memory(std::vector<MemoryTensor> tensors);

  /// Ordered by shard, then by offset in its file.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }

  /// The tensor of that name, or nullptr. Valid as long as this object.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;

  /// What is odd about the checkpoint although it could be opened, in bounded number; empty for what writers write.
  [[nodiscard]] const std::vector<Oddity>& oddities() const noexcept { return oddities_; }

  /// "__metadata__" of a shard; nothing where the file has none, which is not the same as an empty one.
  ///
  /// @throws std::out_of_range when there is no such shard.
  [[nodiscard]] const std::optional<std::map<std::string, std::string>>& metadata(std::size_t shard) const {
    return shards_.at(shard).metadata;
  }

  /// How many shards were opened.
  [[nodiscard]] std::size_t shard_count() const noexcept { return shards_.size(); }

  /// The path of a shard as it was given.
  ///
  /// @throws std::out_of_range when there is no such shard.
  [[nodiscard]] const std::string& shard_path(std::size_t shard) const;

  /// @cond the loader's own view
  [[nodiscard]] const ByteSource& source(std::size_t shard) const { return *shards_.at(shard).source; }
  [[nodiscard]] const File* file(std::size_t shard) const {
    return shards_.at(shard).file.get();
  }  // or nullptr
     /// @endcond

 private:
  struct Shard {
    std::shared_ptr<const ByteSource> source;
    std::shared_ptr<const File> file;
    std::optional<std::map<std::string, std::string>> metadata;
  };

  Checkpoint() = default;
  [[nodiscard]] static Ptr open_shards(const std::vector<std::filesystem::path>& shards);
  void add_shard(std::shared_ptr<const ByteSource> source, std::shared_ptr<const File> file);
  // Once tensors_ has reached its final place in memory. The position of the first tensor whose name an earlier one
  // has.
  [[nodiscard]] std::optional<std::size_t> find_repeat();
  void index_names();

  std::vector<Shard> shards_;
  std::vector<TensorInfo> tensors_;
  std::vector<Oddity> oddities_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // views of tensors_' names
};

}  // namespace warpload
