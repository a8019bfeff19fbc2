// The kernels that cast, loaded into one GPU's context.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "device/cuda/context.hpp"
#include "warpload/dtype.hpp"

namespace warpload::cuda {

// Loads the embedded image when it is first asked for. Threads: any.
class CastModule {
 public:
  explicit CastModule(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  CastModule(const CastModule&) = delete;
  CastModule& operator=(const CastModule&) = delete;
  ~CastModule();

  // The kernel of that pair, or nullptr when there is none: the build had no nvcc, the GPU or its driver cannot
  // use the image, or the core does not cast this pair. Throws DeviceError for any other failure.
  [[nodiscard]] FunctionHandle find(DType source, DType destination);

 private:
  void load();

  std::shared_ptr<Context> context_;
  std::mutex mutex_;
  bool tried_ = false;
  ModuleHandle module_ = nullptr;
  std::map<std::pair<DType, DType>, FunctionHandle> functions_;
};

}  // namespace warpload::cuda
