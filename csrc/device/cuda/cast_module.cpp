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
  if (!tried_ && !load_module()) return nullptr;
  FunctionHandle function = nullptr;
  if (module_ != nullptr && !load_kernel(name, function)) return nullptr;
  const std::lock_guard lock(known_mutex_);
  known_[{source, destination}] = function;
  return function;
}

std::optional<FunctionHandle> CastModule::find_known(DType source, DType destination) const {
  const std::shared_lock lock(known_mutex_);
  const auto found = known_.find({source, destination});
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

bool CastModule::load_module() {
  if (!embedded_cast_kernels().empty()) {
    const CurrentContext current(*context_);
    const Result result = context_->driver().cuModuleLoadData(&module_, embedded_cast_kernels().data());
    if (result != kSuccess) module_ = nullptr;
    if (!there_was_memory(result, "cuModuleLoadData")) return false;
  }
  tried_ = true;
  return true;
}

bool CastModule::load_kernel(const std::string& name, FunctionHandle& function) {
  const CurrentContext current(*context_);
  const Result result = context_->driver().cuModuleGetFunction(&function, module_, name.c_str());
  if (result != kSuccess) function = nullptr;
  return there_was_memory(result, "cuModuleGetFunction");
}

bool CastModule::there_was_memory(Result result, const char* call) const {
  if (result == kOutOfMemory) return false;
  if (!is_unusable_image(result)) context_->check(result, call);
  return true;
}

}  // namespace warpload::cuda
