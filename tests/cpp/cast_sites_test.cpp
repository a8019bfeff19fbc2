#include "load/cast_sites.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "device/backend.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// Rates of a machine with a fast link and cores that cast at 6 and copy at 10 GB/s.
CastRates narrowing(double workers) {
  return {.host_cast = 6e9, .host_copy = 10e9, .link = 50e9, .workers = workers, .result_share = 0.5};
}

TEST(CastSitesTest, FewWorkersLeaveTheCastToTheDevice) { EXPECT_TRUE(device_is_faster(narrowing(2))); }

TEST(CastSitesTest, ManyWorkersCastAndHalveWhatCrossesTheLink) { EXPECT_FALSE(device_is_faster(narrowing(16))); }

TEST(CastSitesTest, SlowLinkKeepsTheCastOnTheHost) {
  CastRates rates = narrowing(2);
  rates.link = 3e9;
  EXPECT_FALSE(device_is_faster(rates));
}

struct CastSitesOnHostTest : ::testing::Test {
  std::shared_ptr<DeviceBackend> backend = make_host_backend();
  int measured = 0;
  std::function<double()> link_rate = [this] {
    ++measured;
    return 50e9;
  };

  bool on_device(DeviceCasts mode, DType source, DType destination) {
    return CastSites(mode, 2).on_device(*backend, {source, destination}, link_rate);
  }
};

TEST_F(CastSitesOnHostTest, ModeDecidesWhereItSaysSo) {
  EXPECT_FALSE(on_device(DeviceCasts::kHost, DType::f16, DType::f32));
  EXPECT_TRUE(on_device(DeviceCasts::kDevice, DType::f32, DType::f16));
}

TEST_F(CastSitesOnHostTest, SourceThatIsNoLargerIsCastOnTheDevice) {
  EXPECT_TRUE(on_device(DeviceCasts::kAuto, DType::f16, DType::bf16));
  EXPECT_TRUE(on_device(DeviceCasts::kAuto, DType::f8_e4m3, DType::bf16));
}

TEST_F(CastSitesOnHostTest, PairThatTheDeviceDoesNotCastStaysOnTheHost) {
  EXPECT_FALSE(on_device(DeviceCasts::kDevice, DType::i32, DType::f32));
}

TEST_F(CastSitesOnHostTest, NarrowingIsMeasuredOnceAndTheAnswerKept) {
  CastSites sites(DeviceCasts::kAuto, 2);
  const bool first = sites.on_device(*backend, {DType::f32, DType::bf16}, link_rate);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(sites.on_device(*backend, {DType::f32, DType::bf16}, link_rate), first);
  }
  static_cast<void>(sites.on_device(*backend, {DType::f32, DType::f16}, link_rate));
  EXPECT_EQ(measured, 1);
}

TEST_F(CastSitesOnHostTest, WorkersCastWhereThereIsNoMemoryToMeasureWith) {
  link_rate = []() -> double { throw OutOfMemoryError({.reason = "none is left"}); };
  EXPECT_FALSE(on_device(DeviceCasts::kAuto, DType::f32, DType::bf16));
}

// Another load that asks meanwhile must not wait for a device that is slow to answer.
TEST_F(CastSitesOnHostTest, NothingIsLockedWhileTheLinkIsMeasured) {
  CastSites sites(DeviceCasts::kAuto, 2);
  int depth = 0;
  link_rate = [&]() -> double {
    if (depth++ == 0) static_cast<void>(sites.on_device(*backend, {DType::f32, DType::f16}, link_rate));
    return 50e9;
  };
  static_cast<void>(sites.on_device(*backend, {DType::f32, DType::bf16}, link_rate));
  EXPECT_EQ(depth, 2);
}

}  // namespace
}  // namespace warpload
