#include "format/index_agreement.hpp"

#include <string_view>
#include <unordered_map>
#include <utility>

#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr const char* kOtherCheckpointCure = "the index and the shards are not of one checkpoint: fetch both again";

}  // namespace

IndexAgreement::IndexAgreement(std::string index, const ShardIndex& listed, IndexRules rules)
    : index_(std::move(index)), listed_(listed), rules_(rules) {
  oddities_.add(listed.oddities);
}

std::vector<TensorInfo> IndexAgreement::without_stale_copies(std::vector<TensorInfo> tensors) {
  std::unordered_map<std::string_view, const TensorInfo*> last;
  for (const TensorInfo& tensor : tensors) last[tensor.name] = &tensor;
  std::vector<bool> counts;
  for (const TensorInfo& tensor : tensors) {
    counts.push_back(last[tensor.name] == &tensor);
    if (!counts.back()) check_copy(tensor, *last[tensor.name]);
  }
  std::vector<TensorInfo> kept;
  kept.reserve(last.size());
  for (std::size_t position = 0; position < tensors.size(); ++position) {
    if (counts[position]) kept.push_back(std::move(tensors[position]));
  }
  return kept;
}

void IndexAgreement::check_copy(const TensorInfo& copy, const TensorInfo& last) {
  const std::string here = listed_.shards[copy.shard].string();
  const std::string there = listed_.shards[last.shard].string();
  const auto entry = listed_.tensor_to_shard.find(copy.name);
  const bool agrees = entry != listed_.tensor_to_shard.end() && entry->second == last.shard;
  if (rules_ == IndexRules::strict && !agrees) {
    throw FormatError({.reason = "the tensor is in " + here + " and in " + there +
                                 ", and the index does not name the last of them: which is meant is uncertain",
                       .path = index_,
                       .tensor = copy.name,
                       .cure = kOtherCheckpointCure});
  }
  const bool alike = copy.dtype == last.dtype && copy.shape == last.shape;
  oddities_.add(alike ? OddityKind::stale_copy : OddityKind::conflicting_copy, index_, copy.name,
                "it is in the shards " + here + " and " + there + "; that of the last counts");
  copied_.insert(copy.name);
}

void IndexAgreement::check(const Checkpoint& checkpoint) {
  for (const auto& [name, shard] : listed_.tensor_to_shard) {
    const TensorInfo* const tensor = checkpoint.find(name);
    const std::string said = "the index maps this tensor to the shard " + listed_.shards[shard].string();
    if (tensor == nullptr) {
      if (rules_ == IndexRules::strict) {
        throw FormatError({.reason = said + ", which lacks it, as do all others",
                           .path = index_,
                           .tensor = name,
                           .cure = kOtherCheckpointCure});
      }
      oddities_.add(OddityKind::absent, index_, name, said + ", which lacks it, as do all others");
    } else if (tensor->shard != shard && !copied_.contains(name)) {
      oddities_.add(OddityKind::misplaced, index_, name,
                    said + ", which lacks it; it is in " + checkpoint.shard_path(tensor->shard));
    }
  }
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (listed_.tensor_to_shard.contains(tensor.name)) continue;
    oddities_.add(OddityKind::unlisted, index_, tensor.name,
                  "the index does not list this tensor, which is in the shard " + checkpoint.shard_path(tensor.shard));
  }
}

}  // namespace warpload
