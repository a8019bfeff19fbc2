// A set of safetensors shards, opened and validated, read by no one yet.
#pragma once

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

namespace warpload {

class ByteSource;
class File;

// One tensor as its shard describes it.
struct TensorInfo {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::uint64_t> shape;
  std::size_t shard = 0;  // position in the checkpoint's list of shards
  ByteRange range;        // absolute offsets in that shard's file
};

// A tensor that is in the host's memory already: row-major, contiguous.
struct MemoryTensor {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<void> owner;  // keeps the bytes; may be dropped on any thread
};

// All headers of a checkpoint. Opening checks every rule of the format in every shard before anything is
// allocated for tensors; tensor data is not touched.
//
// Ownership: shared and immutable; holds the shards' files open. Threads: every member may be called from any
// thread.
class Checkpoint {
 public:
  using Ptr = std::shared_ptr<const Checkpoint>;

  // Opens the given shards. Throws IoError or FormatError naming the file; a tensor that two shards hold is a
  // FormatError, as no order between them is given.
  [[nodiscard]] static Ptr open(const std::vector<std::filesystem::path>& shards);

  // Opens the shards that an index (*.safetensors.index.json) lists. Beyond `open`'s errors: FormatError when
  // the index leaves its folder or maps a tensor to a shard that lacks it.
  [[nodiscard]] static Ptr open_index(const std::filesystem::path& index);

  // The same over sources of the caller's own; they are read positionally and never mapped.
  [[nodiscard]] static Ptr from_sources(std::vector<std::shared_ptr<const ByteSource>> sources);

  // Tensors from memory, each a shard of its own, to be brought to a device like those of a file. Throws
  // InvalidArgumentError when a size does not follow from dtype and shape, or two have one name.
  [[nodiscard]] static Ptr from_memory(std::vector<MemoryTensor> tensors);

  // Ordered by shard, then by offset in its file.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }

  // The tensor of that name, or nullptr. Valid as long as this object.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;

  // "__metadata__" of the shard at `shard`; nothing where the file has none, which is not the same as an empty one.
  [[nodiscard]] const std::optional<std::map<std::string, std::string>>& metadata(std::size_t shard) const {
    return shards_.at(shard).metadata;
  }

  [[nodiscard]] std::size_t shard_count() const noexcept { return shards_.size(); }
  [[nodiscard]] const std::string& shard_path(std::size_t shard) const;
  [[nodiscard]] const ByteSource& source(std::size_t shard) const { return *shards_.at(shard).source; }

  // The shard's file, or nullptr for a source that is none.
  [[nodiscard]] const File* file(std::size_t shard) const { return shards_.at(shard).file.get(); }

 private:
  struct Shard {
    std::shared_ptr<const ByteSource> source;
    std::shared_ptr<const File> file;
    std::optional<std::map<std::string, std::string>> metadata;
  };

  Checkpoint() = default;
  void add_shard(std::shared_ptr<const ByteSource> source, std::shared_ptr<const File> file);
  void index_names();  // once tensors_ has reached its final place in memory

  std::vector<Shard> shards_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // views of tensors_' names
};

}  // namespace warpload
