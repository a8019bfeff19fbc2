// What the tests of the fake CUDA driver share.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/driver.hpp"
#include "fakes/fake_cuda.hpp"

namespace warpload::testing {

using cuda::ContextHandle;
using cuda::DevicePointer;
using cuda::EventHandle;
using cuda::FunctionHandle;
using cuda::ModuleHandle;
using cuda::StreamHandle;

inline constexpr std::size_t kSlot = 4096;

inline std::vector<std::byte> bytes_of(unsigned char value, std::size_t count = kSlot) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

// A fresh driver with device 0's context current; helpers that expect success.
class FakeCudaFixture : public ::testing::Test {
 protected:
  void SetUp() override { begin({}); }
  void TearDown() override { reset(); }

  void begin(const FakeOptions& options) {
    reset(options);
    driver_ = cuda::Driver::open(WARPLOAD_FAKE_CUDA_LIBRARY);
    context_ = enter(0);
  }

  ContextHandle enter(int device) {
    ContextHandle context = nullptr;
    EXPECT_EQ(driver_->cuDevicePrimaryCtxRetain(&context, device), cuda::kSuccess);
    EXPECT_EQ(driver_->cuCtxPushCurrent_v2(context), cuda::kSuccess);
    return context;
  }

  DevicePointer allocate(std::size_t bytes = kSlot) {
    DevicePointer pointer = 0;
    EXPECT_EQ(driver_->cuMemAlloc_v2(&pointer, bytes), cuda::kSuccess);
    return pointer;
  }

  StreamHandle make_stream() {
    StreamHandle stream = nullptr;
    EXPECT_EQ(driver_->cuStreamCreate(&stream, cuda::kStreamNonBlocking), cuda::kSuccess);
    return stream;
  }

  EventHandle make_event() {
    EventHandle event = nullptr;
    EXPECT_EQ(driver_->cuEventCreate(&event, cuda::kEventDisableTiming), cuda::kSuccess);
    return event;
  }

  void pin(std::vector<std::byte>& slot) {
    EXPECT_EQ(driver_->cuMemHostRegister_v2(slot.data(), slot.size(), cuda::kHostRegisterPortable), cuda::kSuccess);
  }

  cuda::Result copy(DevicePointer destination, const std::vector<std::byte>& source, StreamHandle stream) {
    return driver_->cuMemcpyHtoDAsync_v2(destination, source.data(), source.size(), stream);
  }

  FunctionHandle kernel(const char* name) {
    ModuleHandle module = nullptr;
    FunctionHandle function = nullptr;
    EXPECT_EQ(driver_->cuModuleLoadData(&module, "image"), cuda::kSuccess);
    EXPECT_EQ(driver_->cuModuleGetFunction(&function, module, name), cuda::kSuccess);
    return function;
  }

  cuda::Result launch(FunctionHandle function, DevicePointer source, DevicePointer destination,
                      unsigned long long count, unsigned grid = 3, unsigned block = 32, StreamHandle stream = nullptr) {
    void* parameters[] = {&source, &destination, &count};
    return driver_->cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, parameters, nullptr);
  }

  // True when exactly one fault was noted and `text` is in it.
  static bool only_fault_says(const std::string& text) {
    const auto all = faults();
    return all.size() == 1 && all[0].find(text) != std::string::npos;
  }

  std::shared_ptr<const cuda::Driver> driver_;
  ContextHandle context_ = nullptr;
};

}  // namespace warpload::testing
