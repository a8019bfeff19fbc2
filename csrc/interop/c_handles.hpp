// What the handles of the C interface are.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "warpload/checkpoint.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"
#include "warpload/warpload.h"

struct warpload_checkpoint {
  explicit warpload_checkpoint(warpload::Checkpoint::Ptr opened);

  const warpload::Checkpoint::Ptr checkpoint;
  std::vector<warpload_tensor_info> tensors;  // views of the checkpoint's
};

struct warpload_loader {
  explicit warpload_loader(const warpload::LoaderOptions& options) : device(options.device), loader(options) {}

  const warpload::Device device;
  const warpload::Loader loader;
};

struct warpload_load {
  // `lent` keeps memory of the caller's until the load is freed, or is null.
  warpload_load(warpload::Device target, warpload::LoadHandle started, std::shared_ptr<void> lent);

  const std::shared_ptr<void> memory;
  const warpload::Device device;
  warpload::LoadHandle handle;
  const warpload::TensorList tensors;
  std::vector<warpload_tensor> views;  // of those tensors
};

namespace warpload::c_interface {

// The tensor at that position, of a checkpoint or of a load.
template <class Tensor>
[[nodiscard]] const Tensor& tensor_at(const std::vector<Tensor>& tensors, std::size_t index) {
  if (index < tensors.size()) return tensors[index];
  throw InvalidArgumentError({.reason = "there is no tensor " + std::to_string(index) + ": there are " +
                                        std::to_string(tensors.size()) + ", counted from 0"});
}

}  // namespace warpload::c_interface
