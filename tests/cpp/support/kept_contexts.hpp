// GPUs whose primary context stays from a program's first case to its last.
//
// A card takes half a second and more to make a context and to take it apart, and would do so for each case: the case's
// own reference is the last one.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "device/cuda/context.hpp"

namespace warpload::testing {

// Threads: any.
class KeptContexts final : public ::testing::Environment {
 public:
  // Retains the context unless it is kept already. Throws DeviceError.
  void keep(const std::string& library, int ordinal) {
    const std::lock_guard lock(mutex_);
    auto& kept = contexts_[ordinal];
    if (kept) return;
    auto context = std::make_unique<cuda::Context>(cuda::Driver::open(library), ordinal);
    static_cast<void>(context->handle());
    kept = std::move(context);
  }

  // At the program's end, as long as the driver is there.
  void TearDown() override {
    const std::lock_guard lock(mutex_);
    contexts_.clear();
  }

 private:
  std::mutex mutex_;
  std::map<int, std::unique_ptr<cuda::Context>> contexts_;
};

// GoogleTest owns it and ends it.
inline KeptContexts* const kept_contexts = [] {
  auto* const environment = new KeptContexts;
  ::testing::AddGlobalTestEnvironment(environment);
  return environment;
}();

}  // namespace warpload::testing
