// The index file of a sharded checkpoint (*.safetensors.index.json).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "warpload/checkpoint.hpp"

namespace warpload {

struct ShardIndex {
  // Absolute or relative as the index's own path, each once, in the order in which diffusers and transformers read
  // them: by their names as the index spells them.
  std::vector<std::filesystem::path> shards;
  std::map<std::string, std::size_t> tensor_to_shard;  // tensor name -> position in `shards`
  std::vector<Oddity> oddities;
};

// Reads and checks an index: a JSON object whose "weight_map" maps tensor names to names of files inside the index's
// own folder. A name that is absolute, or climbs out by "..", is refused (an index is data from strangers). A symbolic
// link inside the folder is followed: hub caches are made of them. Throws FormatError or IoError naming the index file.
// Whether the shards exist and hold the tensors is Checkpoint's business.
//
// By the strict rules duplicate keys are refused. As published the last one counts, as in Python, and there has to be
// an object called "metadata", without which the libraries do not read an index.
[[nodiscard]] ShardIndex read_shard_index(const std::filesystem::path& index_path,
                                          IndexRules rules = IndexRules::strict);

}  // namespace warpload
