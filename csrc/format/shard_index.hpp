// The index file of a sharded checkpoint (*.safetensors.index.json).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace warpload {

struct ShardIndex {
  std::vector<std::filesystem::path> shards;  // absolute or relative as the index's own path, each once, sorted
  std::map<std::string, std::size_t> tensor_to_shard;  // tensor name -> position in `shards`
};

// Reads and checks an index: a JSON object whose "weight_map" maps tensor names to plain file names inside the index's
// own folder. A name that is absolute, or climbs out by "..", is refused (an index is data from strangers). A symbolic
// link inside the folder is followed: hub caches are made of them. Duplicate keys are refused. Throws FormatError or
// IoError naming the index file. Whether the shards exist and hold the tensors is Checkpoint's business.
[[nodiscard]] ShardIndex read_shard_index(const std::filesystem::path& index_path);

}  // namespace warpload
