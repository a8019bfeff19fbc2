#include "load/tensor_choice.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "convert/cast.hpp"
#include "convert/dequant.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

DType target_dtype(const SegmentOptions& options, const TensorInfo& tensor) {
  if (const auto found = options.tensor_dtypes.find(tensor.name); found != options.tensor_dtypes.end()) {
    return found->second;
  }
  if (options.dtype && (is_floating_point(tensor.dtype) || tensor.blocks)) return *options.dtype;
  return tensor.dtype;
}

bool is_wanted(const SegmentOptions& options, const TensorInfo& tensor) {
  if (options.only && !options.only->contains(tensor.name)) return false;
  return !options.filter || options.filter(tensor);
}

void check_names(const SegmentRequest& request) {
  if (!request.checkpoint) throw InvalidArgumentError({.reason = "a segment request without a checkpoint"});
  const auto check = [&](const std::string& name) {
    if (request.checkpoint->find(name) == nullptr) {
      throw InvalidArgumentError({.reason = "the request names a tensor that the checkpoint lacks", .tensor = name});
    }
  };
  const SegmentOptions& options = request.options;
  for (const auto& [name, dtype] : options.tensor_dtypes) check(name);
  if (options.only) std::for_each(options.only->begin(), options.only->end(), check);
}

// What makes the tensor one of another dtype, and the sizes of what it takes at a time.
struct Cast {
  CastFunction function = nullptr;
  std::uint64_t source_bytes = 1;
  std::uint64_t result_bytes = 1;
};

Cast find_cast_of(const TensorInfo& tensor, DType dtype) {
  if (!tensor.blocks) return {find_cast(tensor.dtype, dtype), dtype_bits(tensor.dtype) / 8, dtype_bits(dtype) / 8};
  return {find_dequantization(*tensor.blocks, dtype), block_bytes(*tensor.blocks),
          std::uint64_t{block_elements(*tensor.blocks)} * dtype_bits(dtype) / 8};
}

Cast cast_of(const SegmentRequest& request, const TensorInfo& tensor, DType dtype) {
  if (dtype == tensor.dtype) return {};
  const Cast cast = find_cast_of(tensor, dtype);
  if (cast.function != nullptr) return cast;
  const std::string_view own = tensor.blocks ? block_type_name(*tensor.blocks) : dtype_name(tensor.dtype);
  throw InvalidArgumentError({.reason = "no cast from " + std::string(own) + " to " + std::string(dtype_name(dtype)),
                              .path = request.checkpoint->shard_path(tensor.shard),
                              .tensor = tensor.name,
                              .cure = "load the tensor in its own dtype"});
}

bool may_be_view(const SegmentRequest& request, const TensorInfo& tensor) {
  const bool aligned = tensor.range.begin % dtype_alignment(tensor.dtype) == 0;
  return request.options.zero_copy && aligned && request.checkpoint->file(tensor.shard) != nullptr;
}

}  // namespace

std::vector<ChosenTensor> choose_tensors(const SegmentRequest& request) {
  check_names(request);
  std::vector<ChosenTensor> chosen;
  const auto& tensors = request.checkpoint->tensors();
  for (std::size_t position = 0; position < tensors.size(); ++position) {
    const TensorInfo& tensor = tensors[position];
    if (!is_wanted(request.options, tensor)) continue;
    const DType dtype = target_dtype(request.options, tensor);
    const Cast cast = cast_of(request, tensor, dtype);
    chosen.push_back({.position = position,
                      .info = &tensor,
                      .dtype = dtype,
                      .cast = cast.function,
                      .source_bytes = cast.source_bytes,
                      .result_bytes = cast.result_bytes,
                      .may_be_view = cast.function == nullptr && may_be_view(request, tensor)});
  }
  return chosen;
}

}  // namespace warpload
