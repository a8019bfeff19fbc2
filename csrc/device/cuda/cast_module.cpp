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
  if (const auto known = find_known(source, destination)) return *known;
  const std::string name = cast_kernel_name(source, destination);
  if (name.empty()) return nullptr;
  const std::lock_guard loading(loading_mutex_);
  if (const auto known = find_known(source, destination)) return *known;  // another thread has loaded it meanwhile
  if (!tried_) load_module();
  const FunctionHandle function = load_kernel(name);
  const std::lock_guard lock(known_mutex_);
  known_[{source, destination}] = function;
  return function;
}

std::optional<FunctionHandle> CastModule::find_known(DType source, DType destination) const {
  const std::shared_lock lock(known_mutex_);
  const auto found = known_.find({source, destination});
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

FunctionHandle CastModule::load_kernel(const std::string& name) {
  FunctionHandle function = nullptr;
  if (module_ == nullptr) return function;
  const CurrentContext current(*context_);
  WARPLOAD_CUDA(*context_, cuModuleGetFunction, &function, module_, name.c_str());
  return function;
}

void CastModule::load_module() {
  if (!embedded_cast_kernels().empty()) {
    const CurrentContext current(*context_);
    const Result result = context_->driver().cuModuleLoadData(&module_, embedded_cast_kernels().data());
    if (!is_unusable_image(result)) context_->check(result, "cuModuleLoadData");
    if (result != kSuccess) module_ = nullptr;
  }
  tried_ = true;
}

}  // namespace warpload::cuda
