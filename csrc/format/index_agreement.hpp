// Whether an index and its shards agree, and what counts where they do not.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "format/oddities.hpp"
#include "format/shard_index.hpp"
#include "warpload/checkpoint.hpp"

namespace warpload {

class IndexAgreement {
 public:
  // `listed` has to outlive it.
  IndexAgreement(std::string index, const ShardIndex& listed, IndexRules rules);

  // Of tensors of one name only that of the last shard, as diffusers and transformers leave it. By the strict rules
  // throws FormatError where the index does not name that shard: which of the two is meant is uncertain then.
  [[nodiscard]] std::vector<TensorInfo> without_stale_copies(std::vector<TensorInfo> tensors);

  // Compares what the index lists with what the shards hold. By the strict rules throws FormatError for a tensor that
  // no shard has.
  void check(const Checkpoint& checkpoint);

  [[nodiscard]] Oddities take_oddities() { return std::move(oddities_); }

 private:
  void check_copy(const TensorInfo& copy, const TensorInfo& last);

  std::string index_;
  const ShardIndex& listed_;
  IndexRules rules_;
  Oddities oddities_;
  std::set<std::string> copied_;  // names of tensors that several shards have
};

}  // namespace warpload
