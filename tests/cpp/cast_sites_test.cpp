#include "load/cast_sites.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "device/backend.hpp"

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
  PinnedPool pool{{.limit_bytes = std::uint64_t{8} << 20, .slot_bytes = std::uint64_t{2} << 20}};

  bool on_device(DeviceCasts mode, DType source, DType destination) {
    return CastSites(mode, 2).on_device(backend, pool, source, destination);
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
  const bool first = sites.on_device(backend, pool, DType::f32, DType::bf16);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(sites.on_device(backend, pool, DType::f32, DType::bf16), first);
  }
}

}  // namespace
}  // namespace warpload
