// The devices that the loader's tests run on: the host, the fake driver, and, where the build is told so, a real GPU.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "cpp/support/kept_contexts.hpp"
#include "device/cuda/driver.hpp"
#include "fakes/fake_capture.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/device.hpp"

namespace warpload::testing {

enum class BackendKind { kHost, kFakeCuda, kGpu };

inline std::string backend_name(BackendKind kind) {
  return kind == BackendKind::kHost ? "host" : kind == BackendKind::kFakeCuda ? "fakecuda" : "gpu";
}

inline void PrintTo(BackendKind kind, std::ostream* stream) { *stream << backend_name(kind); }

inline std::string driver_library(BackendKind kind) {
  return kind == BackendKind::kFakeCuda ? WARPLOAD_FAKE_CUDA_LIBRARY : "libcuda.so.1";
}

inline Device open_device(BackendKind kind, int ordinal = 0) {
  return kind == BackendKind::kHost ? Device::host_through_slots() : Device::cuda(ordinal, driver_library(kind));
}

// Starts each case with a fresh fake driver, and demands at its end that nothing is left of it and nothing was misused.
// A GPU's context stays for the next case.
class BackendTest : public ::testing::TestWithParam<BackendKind> {
 protected:
  void SetUp() override {
    reset();
    if (GetParam() == BackendKind::kGpu) kept_contexts->keep(driver_library(BackendKind::kGpu), 0);
  }
  void TearDown() override {
    EXPECT_TRUE(live().nothing());
    EXPECT_EQ(faults(), std::vector<std::string>{});
    EXPECT_EQ(context_depth(), 0U);
    EXPECT_EQ(threads_with_changed_capture_mode(), 0U);
    reset();
  }

  [[nodiscard]] static bool is_cuda() { return GetParam() != BackendKind::kHost; }
};

inline std::string backend_test_name(const ::testing::TestParamInfo<BackendKind>& info) {
  return backend_name(info.param);
}

}  // namespace warpload::testing

// Instantiates a suite over BackendTest on every backend of this build, or on those with a driver. There is no skip: a
// build with WARPLOAD_GPU_TESTS fails on a machine without a GPU.
#if defined(WARPLOAD_GPU_TESTS)
#define WARPLOAD_CUDA_BACKENDS ::warpload::testing::BackendKind::kFakeCuda, ::warpload::testing::BackendKind::kGpu
#else
#define WARPLOAD_CUDA_BACKENDS ::warpload::testing::BackendKind::kFakeCuda
#endif
#define WARPLOAD_ON_CUDA_BACKENDS(suite)                                               \
  INSTANTIATE_TEST_SUITE_P(Backends, suite, ::testing::Values(WARPLOAD_CUDA_BACKENDS), \
                           ::warpload::testing::backend_test_name)
#define WARPLOAD_ON_ALL_BACKENDS(suite)                                                                        \
  INSTANTIATE_TEST_SUITE_P(Backends, suite,                                                                    \
                           ::testing::Values(::warpload::testing::BackendKind::kHost, WARPLOAD_CUDA_BACKENDS), \
                           ::warpload::testing::backend_test_name)
