#include "warpload/checkpoint.hpp"

#include <utility>

#include "format/file_start.hpp"
#include "format/gguf_header.hpp"
#include "format/header_tensor.hpp"
#include "format/index_agreement.hpp"
#include "format/oddities.hpp"
#include "format/safetensors_header.hpp"
#include "format/shape.hpp"
#include "format/shard_index.hpp"
#include "io/file.hpp"
#include "io/memory_byte_source.hpp"

namespace warpload {
namespace {

// As strict as a header's shape is read.
void check_size(const MemoryTensor& tensor) {
  const std::optional<std::uint64_t> count = element_count(tensor.shape);
  std::uint64_t bits = 0;
  std::uint64_t held = 0;
  const bool fits = count && !__builtin_mul_overflow(*count, std::uint64_t{dtype_bits(tensor.dtype)}, &bits) &&
                    !__builtin_mul_overflow(std::uint64_t{tensor.bytes.size()}, std::uint64_t{8}, &held);
  if (!fits || bits != held) {
    throw InvalidArgumentError({.reason = "its size does not follow from its dtype and shape", .tensor = tensor.name});
  }
  if (tensor.blocks &&
      (tensor.dtype != DType::u8 || tensor.shape.empty() || tensor.shape.back() % block_bytes(*tensor.blocks) != 0)) {
    throw InvalidArgumentError({.reason = "its rows are no whole blocks", .tensor = tensor.name});
  }
  if (!has_strides(tensor.dtype, tensor.shape)) {
    throw InvalidArgumentError(
        {.reason = "its shape's extents and strides have to be below 2^63", .tensor = tensor.name});
  }
}

}  // namespace

std::vector<std::uint64_t> element_shape(const TensorInfo& tensor) {
  std::vector<std::uint64_t> shape = tensor.shape;
  if (tensor.blocks) shape.back() = shape.back() / block_bytes(*tensor.blocks) * block_elements(*tensor.blocks);
  return shape;
}

Checkpoint::Ptr Checkpoint::open(const std::vector<std::filesystem::path>& shards, IndexRules rules) {
  if (shards.empty()) throw InvalidArgumentError({.reason = "a checkpoint needs a shard"});
  if (shards.size() == 1 && is_index(shards[0])) return open_index(shards[0], rules);
  return open_shards(shards);
}

bool Checkpoint::is_index(const std::filesystem::path& file) {
  // A variant's name stands between the two: model.safetensors.index.fp16.json.
  return file.extension() == ".json" && file.filename().string().find(".index.") != std::string::npos;
}

Checkpoint::Ptr Checkpoint::open_shards(const std::vector<std::filesystem::path>& shards) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  for (const auto& path : shards) {
    auto file = File::open(path);
    checkpoint->add_shard(file, file);
  }
  checkpoint->index_names();
  return checkpoint;
}

Checkpoint::Ptr Checkpoint::from_sources(std::vector<std::shared_ptr<const ByteSource>> sources) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  for (auto& source : sources) checkpoint->add_shard(std::move(source), nullptr);
  checkpoint->index_names();
  return checkpoint;
}

Checkpoint::Ptr Checkpoint::from_memory(std::vector<MemoryTensor> tensors) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  for (MemoryTensor& tensor : tensors) {
    check_size(tensor);
    auto source = std::make_shared<MemoryByteSource>(tensor.bytes, std::move(tensor.owner), "memory of " + tensor.name);
    checkpoint->tensors_.push_back({.name = std::move(tensor.name),
                                    .dtype = tensor.dtype,
                                    .shape = std::move(tensor.shape),
                                    .shard = checkpoint->shards_.size(),
                                    .range = {0, tensor.bytes.size()},
                                    .blocks = tensor.blocks});
    checkpoint->shards_.push_back({std::move(source), nullptr, std::nullopt});
  }
  for (const TensorInfo& tensor : checkpoint->tensors_) {
    if (!checkpoint->by_name_.emplace(tensor.name, tensor.shard).second) {
      throw InvalidArgumentError({.reason = "two tensors have this name", .tensor = tensor.name});
    }
  }
  return checkpoint;
}

Checkpoint::Ptr Checkpoint::open_index(const std::filesystem::path& index, IndexRules rules) {
  const ShardIndex listed = read_shard_index(index, rules);
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  for (const auto& path : listed.shards) {
    auto file = File::open(path);
    checkpoint->add_shard(file, file);
  }
  IndexAgreement agreement(index.string(), listed, rules);
  if (checkpoint->find_repeat()) {
    checkpoint->tensors_ = agreement.without_stale_copies(std::move(checkpoint->tensors_));
    checkpoint->index_names();
  }
  agreement.check(*checkpoint);
  Oddities oddities = agreement.take_oddities();
  oddities.add(checkpoint->oddities_);
  checkpoint->oddities_ = oddities.list();
  return checkpoint;
}

void Checkpoint::add_shard(std::shared_ptr<const ByteSource> source, std::shared_ptr<const File> file) {
  Shard shard{std::move(source), std::move(file), std::nullopt};
  const FileStart start = read_start(*shard.source);
  if (is_gguf(start)) {
    GgufHeader header = read_gguf_header(*shard.source);
    shard.format = FileFormat::gguf;
    shard.metadata = std::move(header.metadata);
    add_tensors(std::move(header.tensors));
  } else {
    if (shard.source->path().ends_with(kGgufSuffix)) refuse_no_gguf(*shard.source);
    SafetensorsHeader header = read_safetensors_header(*shard.source, start);
    shard.metadata = std::move(header.metadata);
    oddities_.insert(oddities_.end(), header.oddities.begin(), header.oddities.end());
    add_tensors(std::move(header.tensors));
  }
  shards_.push_back(std::move(shard));
}

// Of the shard that is about to be added.
void Checkpoint::add_tensors(std::vector<HeaderTensor>&& tensors) {
  for (HeaderTensor& tensor : tensors) {
    tensors_.push_back({.name = std::move(tensor.name),
                        .dtype = tensor.dtype,
                        .shape = std::move(tensor.shape),
                        .shard = shards_.size(),
                        .range = tensor.range,
                        .blocks = tensor.blocks});
  }
}

std::optional<std::size_t> Checkpoint::find_repeat() {
  by_name_.clear();
  by_name_.reserve(tensors_.size());
  for (std::size_t position = 0; position < tensors_.size(); ++position) {
    if (!by_name_.emplace(tensors_[position].name, position).second) return position;
  }
  return std::nullopt;
}

void Checkpoint::index_names() {
  const std::optional<std::size_t> repeat = find_repeat();
  if (!repeat) return;
  const TensorInfo& tensor = tensors_[*repeat];
  throw FormatError({.reason = "the tensor is in " + shard_path(find(tensor.name)->shard) + " as well",
                     .path = shard_path(tensor.shard),
                     .tensor = tensor.name,
                     .range = tensor.range,
                     .cure = "load the two files apart, or leave one out"});
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto entry = by_name_.find(name);
  return entry == by_name_.end() ? nullptr : &tensors_[entry->second];
}

const std::string& Checkpoint::shard_path(std::size_t shard) const { return source(shard).path(); }

}  // namespace warpload
