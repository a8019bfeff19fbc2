// The kernels that cast, loaded into one GPU's context.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>

#include "device/cuda/context.hpp"
#include "warpload/dtype.hpp"

namespace warpload::cuda {

// Loads the embedded image, and each kernel of it, when it is first asked for: both may wait for all that the GPU is
// doing. Whoever asks for a kernel that is there already does not wait for that. Threads: any.
class CastModule {
 public:
  explicit CastModule(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  CastModule(const CastModule&) = delete;
  CastModule& operator=(const CastModule&) = delete;
  ~CastModule();

  // The kernel of that pair, or nullptr when there is none: the build had no nvcc, the GPU or its driver cannot
  // use the image, the core does not cast this pair, or the GPU has no memory left for the kernel, which may be there
  // when it is asked for again. Throws DeviceError for any other failure.
  [[nodiscard]] FunctionHandle find(DType source, DType destination);

 private:
  [[nodiscard]] std::optional<FunctionHandle> find_known(DType source, DType destination) const;
  // False where the GPU lacked the memory. What it or its driver cannot use at all stays null.
  [[nodiscard]] bool load_module();
  [[nodiscard]] bool load_kernel(const std::string& name, FunctionHandle& function);
  [[nodiscard]] bool there_was_memory(Result result, const char* call) const;

  std::shared_ptr<Context> context_;
  std::mutex loading_mutex_;  // held while the driver loads; guards the next two
  bool tried_ = false;
  ModuleHandle module_ = nullptr;
  mutable std::shared_mutex known_mutex_;  // never held during a call of the driver
  std::map<std::pair<DType, DType>, FunctionHandle> known_;
};

}  // namespace warpload::cuda
