/// @file
/// Checkpoints: sets of shards (safetensors or GGUF files), opened and validated, whose tensors have not been read yet.
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

#include "warpload/block_type.hpp"
#include "warpload/dtype.hpp"
#include "warpload/error.hpp"
#include "warpload/export.h"

namespace warpload {

class ByteSource;
class File;
struct HeaderTensor;

/// The format of a shard, which its first bytes tell, whatever its name.
enum class FileFormat : std::uint8_t {
  safetensors,  ///< safetensors.
  gguf,         ///< GGUF, version 2 or 3, little endian.
};

/// One tensor as its shard describes it.
struct TensorInfo {
  std::string name;                  ///< The name in the file.
  DType dtype = DType::u8;           ///< The dtype in the file.
  std::vector<std::uint64_t> shape;  ///< Elements along each axis; empty for a scalar.
  std::size_t shard = 0;             ///< The position of its shard in the checkpoint's list of shards.
  ByteRange range = {};              ///< The tensor's bytes, from the start of that shard's file.
  /// Of a quantised tensor of a GGUF file: how its blocks are packed. Its dtype is then u8, and its shape that of its
  /// bytes, whose rows are whole blocks; a load that asks for a floating-point dtype turns them into numbers.
  std::optional<BlockType> blocks = {};
};

/// The shape of a tensor's numbers: for quantised ones not that of its bytes.
[[nodiscard]] WARPLOAD_API std::vector<std::uint64_t> element_shape(const TensorInfo& tensor);

/// A tensor that is in the host's memory already: row-major, contiguous.
struct MemoryTensor {
  std::string name;                  ///< The name by which it will be found.
  DType dtype = DType::u8;           ///< The dtype of the bytes.
  std::vector<std::uint64_t> shape;  ///< Elements along each axis; empty for a scalar.
  std::span<const std::byte> bytes;  ///< All bytes of the tensor; they must not change until the load has ended.
  std::shared_ptr<void> owner;       ///< Keeps the bytes; released with the last use, on any thread.
  /// Of quantised numbers: how their blocks are packed. As TensorInfo::blocks: the dtype is u8, and rows are whole
  /// blocks.
  std::optional<BlockType> blocks = {};
};

/// How an index is to be understood.
enum class IndexRules : std::uint8_t {
  /// Index and shards have to leave no doubt which tensors are meant.
  strict,
  /// The index is understood as diffusers and transformers understand it: what the shards hold counts, and of two
  /// copies of a tensor that of the later shard. What both libraries refuse is refused.
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
  conflicting_copy,  ///< Several shards have the tensor, in different dtypes or shapes; that of the last one counts.
};

/// The name of a kind: "header", "repeated_key", and so on. The view is of static storage.
[[nodiscard]] WARPLOAD_API std::string_view oddity_name(OddityKind kind) noexcept;

/// Something odd about one file of a checkpoint that is loaded all the same.
struct Oddity {
  OddityKind kind = OddityKind::header;  ///< What kind of oddity it is.
  std::string path;                      ///< The file that has it.
  std::string tensor;                    ///< The first tensor that it is about, or empty.
  std::string what;                      ///< What is odd, in a few words.
  std::size_t more = 0;                  ///< How many others of the kind there are in the file.
};

/// Puts an oddity into one sentence: "PATH: tensor 'NAME': WHAT (and N more like it)", absent parts left out.
[[nodiscard]] WARPLOAD_API std::string describe(const Oddity& oddity);

/// A set of shards whose headers have been read and checked. Opening checks every rule of the format in every shard
/// before anything is allocated for tensors; no tensor's bytes are read.
///
/// Ownership: shared and immutable. A checkpoint keeps the contents of its shards readable, but not a descriptor for
/// each: a process has a few of all its checkpoints' shards open, those that were used last, and opens others again by
/// their paths. Tensors that were loaded do not need their checkpoint any more.
///
/// Threads: every member may be called from any thread.
class WARPLOAD_API Checkpoint {
 public:
  /// The pointer by which checkpoints are held.
  using Ptr = std::shared_ptr<const Checkpoint>;

  /// Opens shards in the order given. Where the list is one index file (see is_index), opens the shards that it lists.
  ///
  /// @throws IoError when a file is missing or unreadable.
  /// @throws FormatError naming file, offset and reason when a header or the index breaks a rule, and when two shards
  ///         hold a tensor of one name: no order between them is given.
  /// @throws InvalidArgumentError when the list is empty.
  [[nodiscard]] static Ptr open(const std::vector<std::filesystem::path>& shards,
                                IndexRules rules = IndexRules::strict);

  /// Opens a single shard, or the shards that an index file lists. Throws what `open` throws for a list of one file.
  [[nodiscard]] static Ptr open(const std::convertible_to<std::filesystem::path> auto& file,
                                IndexRules rules = IndexRules::strict) {
    return open(std::vector<std::filesystem::path>{std::filesystem::path(file)}, rules);
  }

  /// Opens the shards that an index lists, whatever the index is called.
  ///
  /// A tensor that lies in another shard than the index says is taken from there; of several copies that of the shard
  /// whose name comes last counts. `oddities` tells of both.
  ///
  /// @throws IoError when a file is missing or unreadable.
  /// @throws FormatError when a header or the index breaks a rule, or the index names a shard outside its folder. By
  ///         IndexRules::strict also when the index lists a tensor that no shard has, when several shards have a tensor
  ///         and the index means another one than the last, and when the index has a key twice. By
  ///         IndexRules::as_published also when the index has no "metadata".
  [[nodiscard]] static Ptr open_index(const std::filesystem::path& index, IndexRules rules = IndexRules::strict);

  /// True for the names of index files, like "model.safetensors.index.json" and "model.safetensors.index.fp16.json".
  [[nodiscard]] static bool is_index(const std::filesystem::path& file);

  /// Opens shards that the caller's own sources read; they are read by position and never mapped.
  ///
  /// @throws FormatError when a header breaks a rule, and when two shards hold a tensor of one name.
  /// @throws InvalidArgumentError when the list is empty.
  [[nodiscard]] static Ptr from_sources(std::vector<std::shared_ptr<const ByteSource>> sources);

  /// Makes a checkpoint of tensors in memory, each a shard of its own, to be loaded to a device like those of a file.
  ///
  /// @throws InvalidArgumentError when a size does not follow from dtype and shape, when no tensor can have the
  ///         shape, or when two have one name.
  [[nodiscard]] static Ptr from_memory(std::vector<MemoryTensor> tensors);

  /// All tensors, ordered by shard, then by offset in the shard's file.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }

  /// The tensor of that name, or nullptr when there is none. The pointer is valid as long as the checkpoint.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;

  /// What is odd about the checkpoint although it could be opened, in bounded number; empty for what writers write.
  [[nodiscard]] const std::vector<Oddity>& oddities() const noexcept { return oddities_; }

  /// The "__metadata__" of a shard's header; nothing where the header has none, which differs from an empty one. Of a
  /// GGUF file: its numbers, truth values and strings as text by their keys, without arrays, without strings that are
  /// no UTF-8 or longer than 64 KiB.
  ///
  /// @throws std::out_of_range when there is no such shard.
  [[nodiscard]] const std::optional<std::map<std::string, std::string>>& metadata(std::size_t shard) const {
    return shards_.at(shard).metadata;
  }

  /// The format of a shard.
  ///
  /// @throws std::out_of_range when there is no such shard.
  [[nodiscard]] FileFormat format(std::size_t shard) const { return shards_.at(shard).format; }

  /// How many shards were opened.
  [[nodiscard]] std::size_t shard_count() const noexcept { return shards_.size(); }

  /// The path of a shard, as it was given.
  ///
  /// @throws std::out_of_range when there is no such shard.
  [[nodiscard]] const std::string& shard_path(std::size_t shard) const;

  /// @cond the loader's own view
  [[nodiscard]] const ByteSource& source(std::size_t shard) const { return *shards_.at(shard).source; }
  [[nodiscard]] const File* file(std::size_t shard) const {
    return shards_.at(shard).file.get();
  }  // null where the shard is no file
  /// @endcond

 private:
  struct Shard {
    std::shared_ptr<const ByteSource> source;
    std::shared_ptr<const File> file;
    std::optional<std::map<std::string, std::string>> metadata;
    FileFormat format = FileFormat::safetensors;
  };

  Checkpoint() = default;
  [[nodiscard]] static Ptr open_shards(const std::vector<std::filesystem::path>& shards);
  void add_shard(std::shared_ptr<const ByteSource> source, std::shared_ptr<const File> file);
  void add_tensors(std::vector<HeaderTensor>&& tensors);
  // Once tensors_ has reached its final place in memory. The position of the first tensor whose name an
  // earlier one has.
  [[nodiscard]] std::optional<std::size_t> find_repeat();
  void index_names();

  std::vector<Shard> shards_;
  std::vector<TensorInfo> tensors_;
  std::vector<Oddity> oddities_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // views of tensors_' names
};

}  // namespace warpload
