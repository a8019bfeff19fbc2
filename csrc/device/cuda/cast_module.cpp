#include "device/cuda/cast_module.hpp"

#include <string>

#include "convert/cast_kernels.hpp"

namespace warpload::cuda {
namespace {

// The GPU is older than the oldest code in the image, or the driver than the toolkit that made it: the processor casts.
bool is_unusable_image(Result result) noexcept {
  constexpr Result kInvalidPtx = 218;
  constexpr Result kNoJitCompiler = 221;
  constexpr Result kUnsupportedPtxVersion = 222;
  constexpr Result kJitDisabled = 223;
  return result == kNoBinaryForGpu || result == kInvalidImage || result == kInvalidPtx || result == kNoJitCompiler ||
         result == kUnsupportedPtxVersion || result == kJitDisabled;
}

}  // namespace

CastModule::~CastModule() {
  if (module_ == nullptr) return;
  clean_up(*context_, [&](const Driver& driver) { return driver.cuModuleUnload(module_); });
}

FunctionHandle CastModule::find(DType source, DType destination) {
  const std::string name = cast_kernel_name(source, destination);
  if (name.empty()) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find({source, destination});
  if (found != functions_.end()) return found->second;
  if (!tried_) load();
  FunctionHandle function = nullptr;
  if (module_ != nullptr) {
    const CurrentContext current(*context_);
    WARPLOAD_CUDA(*context_, cuModuleGetFunction, &function, module_, name.c_str());
  }
  functions_[{source, destination}] = function;
  return function;
}

void CastModule::load() {
  if (!embedded_cast_kernels().empty()) {
    const CurrentContext current(*context_);
    const Result result = context_->driver().cuModuleLoadData(&module_, embedded_cast_kernels().data());
    if (!is_unusable_image(result)) context_->check(result, "cuModuleLoadData");
    if (result != kSuccess) module_ = nullptr;
  }
  tried_ = true;
}

}  // namespace warpload::cuda
