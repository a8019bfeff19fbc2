#include <gtest/gtest.h>

#include <string>

#include "cpp/support/catch_error.hpp"
#include "device/cuda/driver.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/error.hpp"

namespace warpload::cuda {
namespace {

using warpload::testing::catch_error;

constexpr char kFake[] = WARPLOAD_FAKE_CUDA_LIBRARY;

class CudaDriverTest : public ::testing::Test {
 protected:
  void SetUp() override { warpload::testing::reset(); }
  void TearDown() override { warpload::testing::reset(); }

  static DeviceError open_error(const std::string& library) {
    return catch_error<DeviceError>([&] { static_cast<void>(Driver::open(library)); });
  }
};

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(CudaDriverTest, MissingLibraryIsADeviceErrorWithTheLoadersReasonAndACure) {
  const auto error = open_error("libcuda_that_is_not_there.so.1");
  EXPECT_TRUE(mentions(error.reason(), "'libcuda_that_is_not_there.so.1'"));
  EXPECT_TRUE(mentions(error.reason(), "No such file or directory"));
  EXPECT_TRUE(mentions(error.cure(), "install NVIDIA's driver"));
}

TEST_F(CudaDriverTest, LibraryWithoutTheCallsIsADeviceErrorThatNamesTheFirstMissing) {
  const auto error = open_error("libm.so.6");
  EXPECT_TRUE(mentions(error.reason(), "'libm.so.6' lacks the call cuInit"));
  EXPECT_TRUE(mentions(error.cure(), "newer driver"));
}

TEST_F(CudaDriverTest, InitialisationThatFailsIsADeviceErrorInTheDriversOwnWords) {
  warpload::testing::fail_call("cuInit", 1, kUnknown);
  const auto error = open_error(kFake);
  EXPECT_EQ(error.reason(), "cuInit: CUDA_ERROR_UNKNOWN: unknown error");
  EXPECT_FALSE(error.cure().empty());
}

TEST_F(CudaDriverTest, DriverThatAForkHasLeftBehindIsADeviceErrorWithACureOfItsOwn) {
  warpload::testing::fail_call("cuInit", 1, kNotInitialized);  // what the real one returns in such a child
  const auto error = open_error(kFake);
  EXPECT_TRUE(mentions(error.reason(), "CUDA_ERROR_NOT_INITIALIZED"));
  EXPECT_TRUE(mentions(error.cure(), "fork"));
  EXPECT_TRUE(mentions(error.cure(), "spawn"));
}

TEST_F(CudaDriverTest, MachineWithoutADeviceIsADeviceErrorThatSaysSo) {
  warpload::testing::reset({.devices = 0});
  EXPECT_TRUE(mentions(open_error(kFake).reason(), "finds no GPU"));
  warpload::testing::reset({.devices = 0, .init_without_devices = true});
  EXPECT_TRUE(mentions(open_error(kFake).reason(), "finds no GPU"));
}

TEST_F(CudaDriverTest, CountOfDevicesThatFailsIsADeviceErrorThatNamesTheCall) {
  warpload::testing::fail_call("cuDeviceGetCount", 1, kDeinitialized);
  EXPECT_EQ(open_error(kFake).reason(), "cuDeviceGetCount: CUDA_ERROR_DEINITIALIZED: driver shutting down");
}

TEST_F(CudaDriverTest, OpenDriverHasEveryCallAndCanBeOpenedAgain) {
  const auto first = Driver::open(kFake);
  const auto second = Driver::open(kFake);
#define WARPLOAD_EXPECT_CALL(name, parameters) \
  EXPECT_NE(first->name, nullptr);             \
  EXPECT_EQ(first->name, second->name);
  WARPLOAD_CUDA_CALLS(WARPLOAD_EXPECT_CALL)
#undef WARPLOAD_EXPECT_CALL
}

TEST_F(CudaDriverTest, SuccessDoesNotThrow) {
  const auto driver = Driver::open(kFake);
  int version = 0;
  EXPECT_NO_THROW(driver->check(driver->cuDriverGetVersion(&version), "cuDriverGetVersion"));
  EXPECT_EQ(version, 13000);
}

TEST_F(CudaDriverTest, FailedCallIsADeviceErrorWithItsName) {
  const auto driver = Driver::open(kFake);
  DeviceHandle device = 0;
  const auto error = catch_error<DeviceError>([&] { driver->check(driver->cuDeviceGet(&device, 7), "cuDeviceGet"); });
  EXPECT_EQ(error.reason(), "cuDeviceGet: CUDA_ERROR_INVALID_DEVICE: invalid device ordinal");
}

TEST_F(CudaDriverTest, OutOfMemoryHasItsOwnClass) {
  const auto driver = Driver::open(kFake);
  const auto error = catch_error<OutOfMemoryError>([&] { driver->check(kOutOfMemory, "cuMemAlloc_v2"); });
  EXPECT_EQ(error.reason(), "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY: out of memory");
}

TEST_F(CudaDriverTest, ResultThatTheDriverCannotNameIsGivenAsANumber) {
  const auto driver = Driver::open(kFake);
  EXPECT_EQ(driver->describe(4711, "cuMemAlloc_v2"), "cuMemAlloc_v2: error 4711");
  warpload::testing::fail_call("cuGetErrorString", 1, kInvalidValue);
  EXPECT_EQ(driver->describe(kNoDevice, "cuInit"), "cuInit: CUDA_ERROR_NO_DEVICE");
}

}  // namespace
}  // namespace warpload::cuda
