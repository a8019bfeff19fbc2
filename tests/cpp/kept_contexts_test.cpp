// What keeps a GPU's context between the cases of a program, on the fake driver.
#include "cpp/support/kept_contexts.hpp"

#include <gtest/gtest.h>

#include "fakes/fake_cuda.hpp"
#include "warpload/device.hpp"
#include "warpload/error.hpp"

namespace warpload::testing {
namespace {

constexpr char kFake[] = WARPLOAD_FAKE_CUDA_LIBRARY;

class KeptContextsTest : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override {
    kept_.TearDown();
    EXPECT_TRUE(live().nothing());
    reset();
  }

  KeptContexts kept_;
};

// As a case does with its device.
void open_and_release(int ordinal) { static_cast<void>(Device::cuda(ordinal, kFake).memory()); }

TEST_F(KeptContextsTest, DeviceThatIsOpenedAndReleasedLeavesItsContextAlone) {
  kept_.keep(kFake, 0);
  open_and_release(0);
  open_and_release(0);
  EXPECT_EQ(live().context_references, 1U);
  open_and_release(1);
  EXPECT_EQ(live().context_references, 1U);
}

TEST_F(KeptContextsTest, ContextIsKeptOnceHoweverOftenItIsAskedFor) {
  for (int time = 0; time < 3; ++time) kept_.keep(kFake, 0);
  kept_.keep(kFake, 1);
  EXPECT_EQ(live().context_references, 2U);
}

TEST_F(KeptContextsTest, ContextGoesAtTheEndOfTheProgram) {
  kept_.keep(kFake, 0);
  kept_.TearDown();
  EXPECT_EQ(live().context_references, 0U);
}

TEST_F(KeptContextsTest, GpuThatCannotBeHadIsAnErrorEachTime) {
  EXPECT_THROW(kept_.keep(kFake, 99), DeviceError);
  EXPECT_THROW(kept_.keep(kFake, 99), DeviceError);
  EXPECT_THROW(kept_.keep("libno-such-driver.so.1", 0), DeviceError);
}

}  // namespace
}  // namespace warpload::testing
