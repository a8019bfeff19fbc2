// The kernels that cast, found in one GPU's context: on the fake driver, whose loading of a kernel can be made slow.
#include "device/cuda/cast_module.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "convert/cast_kernels.hpp"
#include "cpp/support/load_cases.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload::cuda {
namespace {

using std::chrono::milliseconds;

class CastModuleTest : public ::testing::Test {
 protected:
  void SetUp() override { begin({}); }
  void TearDown() override {
    casts_.reset();
    EXPECT_TRUE(testing::live().nothing());
    EXPECT_EQ(testing::faults(), std::vector<std::string>{});
    testing::reset();
  }

  void begin(const testing::FakeOptions& options) {
    casts_.reset();
    testing::reset(options);
    casts_ = std::make_unique<CastModule>(std::make_shared<Context>(Driver::open(WARPLOAD_FAKE_CUDA_LIBRARY), 0));
  }

  static bool has_kernels() { return !embedded_cast_kernels().empty(); }

  std::unique_ptr<CastModule> casts_;
};

TEST_F(CastModuleTest, KernelIsLoadedOnceHoweverManyThreadsAskForIt) {
  begin({.kernel_loading = milliseconds(20)});
  std::vector<std::future<FunctionHandle>> asked;
  for (int thread = 0; thread < 4; ++thread) {
    asked.push_back(std::async(std::launch::async, [&] { return casts_->find(DType::f32, DType::bf16); }));
  }
  std::set<FunctionHandle> found;
  for (auto& answer : asked) found.insert(answer.get());
  EXPECT_EQ(found.size(), 1U);
  EXPECT_EQ(testing::call_count("cuModuleGetFunction"), has_kernels() ? 1U : 0U);
  EXPECT_EQ(testing::call_count("cuModuleLoadData"), has_kernels() ? 1U : 0U);
}

TEST_F(CastModuleTest, KernelThatIsThereIsFoundWhileAnotherIsBeingLoaded) {
  begin({.kernel_loading = milliseconds(300)});
  const FunctionHandle known = casts_->find(DType::f32, DType::bf16);
  const std::uint64_t loads = testing::call_count("cuModuleGetFunction");
  auto other = std::async(std::launch::async, [&] { return casts_->find(DType::f32, DType::f16); });
  while (has_kernels() && testing::call_count("cuModuleGetFunction") == loads) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), known);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(150));
  EXPECT_EQ(other.get() != nullptr, has_kernels());
}

TEST_F(CastModuleTest, PairWithoutAKernelAsksNoDriver) {
  EXPECT_EQ(casts_->find(DType::i64, DType::f32), nullptr);
  EXPECT_EQ(testing::call_count("cuModuleLoadData"), 0U);
}

TEST_F(CastModuleTest, ImageThatTheGpuCannotUseIsTriedOnce) {
  begin({.binary_for_gpu = false});
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), nullptr);
  EXPECT_EQ(casts_->find(DType::f32, DType::f16), nullptr);
  EXPECT_EQ(testing::call_count("cuModuleLoadData"), has_kernels() ? 1U : 0U);
}

TEST_F(CastModuleTest, KernelThatThereIsNoMemoryForMayBeThereLater) {
  testing::fail_call("cuModuleLoadData", 1, kOutOfMemory);
  testing::fail_call("cuModuleGetFunction", 1, kOutOfMemory);
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), nullptr);
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), nullptr);
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16) != nullptr, has_kernels());
}

TEST_F(CastModuleTest, KernelThatTheDriverFindsUnusableOnlyWhenItLoadsItIsTriedOnce) {
  testing::fail_call("cuModuleGetFunction", 1, kNoBinaryForGpu);
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), nullptr);
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16), nullptr);
  EXPECT_EQ(testing::call_count("cuModuleGetFunction"), has_kernels() ? 1U : 0U);
}

TEST_F(CastModuleTest, LoadCastsOnTheHostWhereTheGpuHasNoMemoryForItsKernels) {
  testing::fail_call("cuModuleLoadData", 1, kOutOfMemory, testing::FailureSpan::kFromThenOn);
  const Device device = Device::cuda(0, WARPLOAD_FAKE_CUDA_LIBRARY);
  const std::string data = testing::f32_pattern(100'000);
  const auto checkpoint = testing::checkpoint_of({{"weight", "F32", {100'000}, data}});
  const Loader loader({.threads = 2, .device_casts = DeviceCasts::kDevice});
  const auto tensors = loader.start(checkpoint, {.dtype = DType::bf16, .device = device}).get().tensors();
  EXPECT_TRUE(testing::bytes_of(tensors[0], device) == testing::cast_bytes(data, DType::f32, DType::bf16));
  EXPECT_EQ(testing::counters().launches, 0U);
}

TEST_F(CastModuleTest, FailureIsAnErrorAndTheNextCallTriesAgain) {
  testing::fail_call("cuModuleLoadData", 1, kUnknown);
  testing::fail_call("cuModuleGetFunction", 1, kUnknown);
  const auto fails = [&] {
    try {
      static_cast<void>(casts_->find(DType::f32, DType::bf16));
      return false;
    } catch (const DeviceError&) {
      return true;
    }
  };
  EXPECT_EQ(fails(), has_kernels());
  EXPECT_EQ(fails(), has_kernels());
  EXPECT_EQ(casts_->find(DType::f32, DType::bf16) != nullptr, has_kernels());
}

}  // namespace
}  // namespace warpload::cuda
