// Checkpoints in C.
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "interop/c_error.hpp"
#include "interop/c_handles.hpp"
#include "interop/c_values.hpp"

namespace warpload::c_interface {
namespace {

std::vector<std::filesystem::path> paths_of(const char* const* paths, size_t count) {
  std::vector<std::filesystem::path> result;
  if (count != 0) static_cast<void>(required(paths, "paths"));
  for (size_t index = 0; index < count; ++index) result.emplace_back(&required(paths[index], "a path"));
  return result;
}

}  // namespace
}  // namespace warpload::c_interface

using namespace warpload::c_interface;

warpload_checkpoint::warpload_checkpoint(warpload::Checkpoint::Ptr opened) : checkpoint(std::move(opened)) {
  tensors.reserve(checkpoint->tensors().size());
  for (const warpload::TensorInfo& tensor : checkpoint->tensors()) tensors.push_back(view_of(tensor));
}

warpload_status warpload_checkpoint_open(const char* const* paths, size_t count, warpload_checkpoint** out,
                                         warpload_error** error) {
  return give(out, error, [&] {
    auto checkpoint = warpload::Checkpoint::open(paths_of(paths, count));
    return std::make_unique<warpload_checkpoint>(std::move(checkpoint)).release();
  });
}

size_t warpload_checkpoint_tensor_count(const warpload_checkpoint* checkpoint) {
  return checkpoint != nullptr ? checkpoint->tensors.size() : 0;
}

warpload_status warpload_checkpoint_tensor(const warpload_checkpoint* checkpoint, size_t index,
                                           const warpload_tensor_info** out, warpload_error** error) {
  return give(out, error, [&] { return &tensor_at(required(checkpoint, "checkpoint").tensors, index); });
}

warpload_status warpload_checkpoint_find(const warpload_checkpoint* checkpoint, const char* name,
                                         const warpload_tensor_info** out, warpload_error** error) {
  return give(out, error, [&] {
    const auto& [opened, tensors] = required(checkpoint, "checkpoint");
    const warpload::TensorInfo* found = opened->find(&required(name, "name"));
    if (found == nullptr) {
      throw warpload::InvalidArgumentError({.reason = "there is no such tensor", .tensor = name});
    }
    return &tensors[static_cast<size_t>(found - opened->tensors().data())];
  });
}

void warpload_checkpoint_free(warpload_checkpoint* checkpoint) { delete checkpoint; }
