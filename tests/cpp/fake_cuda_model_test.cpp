// The fake driver's modelled mode: what costs time there, and what does not. Only lower bounds of time are asserted,
// which hold on a busy machine too.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "cpp/support/fake_cuda_fixture.hpp"

namespace warpload::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMegabyte = 1'000'000;

struct FakeCudaModelTest : FakeCudaFixture {
  void SetUp() override { model({.link_gbps = 0.1}); }  // 10 ms a megabyte

  void model(const FakeModel& costs) {
    begin({.model = costs});
    pin(host_);
    device_ = allocate(kMegabyte);
  }

  std::vector<std::byte> host_ = bytes_of(1, kMegabyte);
  DevicePointer device_ = 0;
};

TEST_F(FakeCudaModelTest, CopyIsDoneWhenTheLinkHasHadTimeForItsBytes) {
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const auto begin = Clock::now();
  EXPECT_EQ(copy(device_, host_, stream), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, stream), cuda::kSuccess);
  if (Clock::now() - begin < milliseconds(5)) {
    EXPECT_EQ(driver_->cuEventQuery(event), cuda::kNotReady);
  }
  EXPECT_EQ(driver_->cuEventSynchronize(event), cuda::kSuccess);
  EXPECT_GE(Clock::now() - begin, milliseconds(10));
  EXPECT_EQ(driver_->cuEventQuery(event), cuda::kSuccess);
}

TEST_F(FakeCudaModelTest, StreamsShareTheLink) {
  const auto begin = Clock::now();
  const StreamHandle streams[] = {make_stream(), make_stream()};
  for (const StreamHandle stream : streams) EXPECT_EQ(copy(device_, host_, stream), cuda::kSuccess);
  for (const StreamHandle stream : streams) EXPECT_EQ(driver_->cuStreamSynchronize(stream), cuda::kSuccess);
  EXPECT_GE(Clock::now() - begin, milliseconds(20));
  const FakeLink link = take_link();
  EXPECT_EQ(link.bytes, 2 * kMegabyte);
  EXPECT_EQ(link.busy, milliseconds(20));
  EXPECT_GE(link.end - link.begin, milliseconds(20));
  EXPECT_EQ(take_link().bytes, 0U);
}

TEST_F(FakeCudaModelTest, StreamThatWaitsForAnEventCopiesAfterIt) {
  const StreamHandle first = make_stream();
  const StreamHandle second = make_stream();
  const EventHandle event = make_event();
  const auto begin = Clock::now();
  EXPECT_EQ(copy(device_, host_, first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuEventRecord(event, first), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamWaitEvent(second, event, 0), cuda::kSuccess);
  EXPECT_EQ(driver_->cuStreamSynchronize(second), cuda::kSuccess);
  EXPECT_GE(Clock::now() - begin, milliseconds(10));
}

TEST_F(FakeCudaModelTest, RegistrationsWaitForEachOtherAndNotForOtherCalls) {
  model({.link_gbps = 0.1, .pinning_per_mib = milliseconds(20)});
  std::vector<std::vector<std::byte>> slots(2, bytes_of(0, 1 << 20));
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (auto& slot : slots) {
    threads.emplace_back([&] {
      EXPECT_EQ(driver_->cuCtxPushCurrent_v2(context_), cuda::kSuccess);
      pin(slot);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(Clock::now() - begin, milliseconds(40));
  EXPECT_GE(take_link().pinning, milliseconds(40));
}

TEST_F(FakeCudaModelTest, CallsCostWhatTheModelSays) {
  model({.call = milliseconds(2), .event_query = milliseconds(5), .allocation = milliseconds(10)});
  const StreamHandle stream = make_stream();
  const EventHandle event = make_event();
  const auto seconds_of = [](auto call) {
    const auto begin = Clock::now();
    EXPECT_EQ(call(), cuda::kSuccess);
    return Clock::now() - begin;
  };
  EXPECT_GE(seconds_of([&] { return driver_->cuEventRecord(event, stream); }), milliseconds(2));
  EXPECT_GE(seconds_of([&] { return driver_->cuEventQuery(event); }), milliseconds(5));
  DevicePointer pointer = 0;
  EXPECT_GE(seconds_of([&] { return driver_->cuMemAlloc_v2(&pointer, kMegabyte); }), milliseconds(10));
}

TEST_F(FakeCudaModelTest, DeviceMemoryIsAddressesOnly) {
  begin({.model = FakeModel{}, .device_bytes = std::uint64_t{1} << 40});
  const DevicePointer pointer = allocate(std::size_t{1} << 39);  // more than machines that run tests have
  EXPECT_EQ(driver_->cuMemFree_v2(pointer), cuda::kSuccess);
  EXPECT_EQ(faults(), std::vector<std::string>{});
}

}  // namespace
}  // namespace warpload::testing
