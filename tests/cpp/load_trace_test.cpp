// What loads record of their threads: one suite for the host, the fake driver and a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "cpp/support/backends.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/page_cache.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using testing::bf16_pattern;
using testing::checkpoint_of;
using testing::f32_pattern;
using testing::kMiB;
using testing::open_device;
using testing::pattern_bytes;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kEvents = 10'000;

class LoadTraceTest : public testing::BackendTest {};

LoaderOptions small_slots(unsigned threads = 3) {
  return {.threads = threads, .pinned_bytes = 6 * kMiB, .slot_bytes = 2 * kMiB};
}

std::vector<testing::TensorSpec> assorted() {
  return {{"ids", "I64", {3}, pattern_bytes(24)},
          {"large", "BF16", {3'000'001}, bf16_pattern(3'000'001)},
          {"wide", "F32", {700'003}, f32_pattern(700'003)}};
}

std::map<TraceKind, std::uint64_t> bytes_by_kind(const TraceEvents& found) {
  std::map<TraceKind, std::uint64_t> bytes;
  for (const TraceEvent& event : found.events) bytes[event.kind] += event.bytes;
  return bytes;
}

TEST_P(LoadTraceTest, WithoutTheOptionNothingIsRecorded) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto load = loader.start(checkpoint_of(assorted()), {.device = device});
  load.wait();
  EXPECT_FALSE(load.trace().is_recorded());
  EXPECT_TRUE(load.trace().read().events.empty());
  EXPECT_FALSE(LoadTrace().is_recorded());
}

TEST_P(LoadTraceTest, EveryByteThatIsReadIsToldOfOnceBetweenStartAndEnd) {
  const Device device = open_device(GetParam());
  for (const auto casts : {DeviceCasts::kHost, DeviceCasts::kDevice}) {
    LoaderOptions options = small_slots();
    options.device_casts = casts;
    const Loader loader(options);
    const Clock::time_point begin = Clock::now();
    const auto load =
        loader.start(checkpoint_of(assorted()), {.dtype = DType::f16, .device = device, .trace_events = kEvents});
    static_cast<void>(load.get());
    const Clock::time_point end = Clock::now();
    const TraceEvents found = load.trace().read();
    EXPECT_EQ(bytes_by_kind(found)[TraceKind::kReading], load.progress().bytes_total);
    EXPECT_EQ(found.lost, 0U);
    for (const TraceEvent& event : found.events) {
      EXPECT_LE(begin, event.begin);
      EXPECT_LE(event.begin, event.end);
      EXPECT_LE(event.end, end);
      EXPECT_EQ(event.segment, 0U);
      EXPECT_NE(event.thread, 0U);
    }
  }
}

TEST_P(LoadTraceTest, CastsOfTheWorkersAndSlotsThatAreSentAreToldOf) {
  const Device device = open_device(GetParam());
  LoaderOptions options = small_slots();
  options.device_casts = DeviceCasts::kHost;
  const Loader loader(options);
  const auto load =
      loader.start(checkpoint_of(assorted()), {.dtype = DType::f32, .device = device, .trace_events = kEvents});
  static_cast<void>(load.get());
  auto bytes = bytes_by_kind(load.trace().read());
  EXPECT_GE(bytes[TraceKind::kCasting], 6'000'002U);  // of the file
  EXPECT_LE(bytes[TraceKind::kCasting], load.progress().bytes_total);
  EXPECT_GE(bytes[TraceKind::kSending], 24 + 4 * (3'000'001 + 700'003U));  // of the memory, padding included
}

TEST_P(LoadTraceTest, EventsOfOneThreadDoNotOverlap) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto load = loader.start(checkpoint_of(assorted(), {.delay = std::chrono::microseconds(100)}),
                                 {.dtype = DType::f32, .device = device, .trace_events = kEvents});
  static_cast<void>(load.get());
  std::map<std::uint32_t, std::vector<std::pair<Clock::time_point, Clock::time_point>>> by_thread;
  for (const TraceEvent& event : load.trace().read().events) {
    by_thread[event.thread].emplace_back(event.begin, event.end);
  }
  EXPECT_LE(by_thread.size(), 3U);
  for (auto& [thread, spans] : by_thread) {
    std::sort(spans.begin(), spans.end());
    for (std::size_t index = 1; index < spans.size(); ++index) EXPECT_LE(spans[index - 1].second, spans[index].first);
  }
}

TEST_P(LoadTraceTest, TheWaitForTheArenaIsToldOf) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const SegmentAllocator slow = [&](std::span<const SegmentSize> sizes) {
    if (!sizes[0].staging) std::this_thread::sleep_for(milliseconds(20));
    return std::vector<AdoptedMemory>(sizes.size());
  };
  // On a busy machine a worker may get the processor only after the arena is there.
  Clock::duration longest{};
  for (const auto deadline = Clock::now() + std::chrono::minutes(1); longest == Clock::duration::zero();) {
    ASSERT_LT(Clock::now(), deadline);
    const auto load = loader.start({{checkpoint_of(assorted()), {.device = device, .trace_events = kEvents}}}, slow);
    static_cast<void>(load.get());
    for (const TraceEvent& event : load.trace().read().events) {
      if (event.kind == TraceKind::kWaitingForArena) longest = std::max(longest, event.end - event.begin);
    }
  }
}

TEST_P(LoadTraceTest, SegmentsAreToldApartAndTheLargestNumberOfEventsCounts) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto load = loader.start({{checkpoint_of(assorted()), {.device = device}},
                                  {checkpoint_of({{"a", "U8", {300}, pattern_bytes(300)}}),
                                   {.zero_copy = false, .device = device, .trace_events = kEvents}}});
  static_cast<void>(load.get());
  std::map<std::uint32_t, std::uint64_t> read;
  for (const TraceEvent& event : load.trace().read().events) {
    if (event.kind == TraceKind::kReading) read[event.segment] += event.bytes;
  }
  EXPECT_EQ(read[1], 300U);
  EXPECT_EQ(read[0] + read[1], load.progress().bytes_total);
}

TEST_P(LoadTraceTest, LoadsSideBySideEachHaveTheirOwn) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  std::vector<LoadHandle> loads;
  for (int index = 0; index < 3; ++index) {
    loads.push_back(loader.start(checkpoint_of(assorted()), {.device = device, .trace_events = kEvents}));
  }
  for (const LoadHandle& load : loads) {
    static_cast<void>(load.get());
    EXPECT_EQ(bytes_by_kind(load.trace().read())[TraceKind::kReading], load.progress().bytes_total);
  }
}

TEST_P(LoadTraceTest, TheLastEventsAreKeptAndTheOthersCounted) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto all =
      loader.start(checkpoint_of(assorted()), {.dtype = DType::f32, .device = device, .trace_events = kEvents});
  static_cast<void>(all.get());
  const auto few = loader.start(checkpoint_of(assorted()), {.dtype = DType::f32, .device = device, .trace_events = 4});
  static_cast<void>(few.get());
  EXPECT_GT(all.trace().read().events.size(), 4U);
  EXPECT_LE(few.trace().read().events.size(), 4U);
  EXPECT_GT(few.trace().read().lost, 0U);
}

TEST_P(LoadTraceTest, ATraceMayBeReadWhileTheLoadGoesOnAndAfterItsHandle) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  LoadTrace trace;
  {
    const auto load = loader.start(checkpoint_of(assorted(), {.delay = std::chrono::microseconds(200)}),
                                   {.device = device, .trace_events = kEvents});
    trace = load.trace();
    while (!load.done()) {
      for (const TraceEvent& event : trace.read().events) EXPECT_LE(event.begin, event.end);
    }
    static_cast<void>(load.get());
  }
  EXPECT_FALSE(trace.read().events.empty());
}

TEST_P(LoadTraceTest, OfALoadThatFailsThereIsWhatWasDoneBefore) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(1));
  const auto load = loader.start(checkpoint_of(assorted(), {.fail_at_read = 5}),  // 0 and 1 are the header's
                                 {.dtype = DType::f32, .device = device, .trace_events = kEvents});
  EXPECT_THROW(static_cast<void>(load.get()), IoError);
  const std::uint64_t read = bytes_by_kind(load.trace().read())[TraceKind::kReading];
  EXPECT_GT(read, 0U);
  EXPECT_LT(read, load.progress().bytes_total);
}

TEST_P(LoadTraceTest, FilesThatAreReadPastThePageCacheAreToldOfToo) {
  const Device device = open_device(GetParam());
  testing::TemporaryDirectory directory{std::filesystem::current_path()};  // the build's, which is on a disk
  const auto path = directory.write("model.safetensors", testing::safetensors_file(assorted()));
  for (const DirectIo mode : {DirectIo::kAuto, DirectIo::kAlways}) {
    LoaderOptions options = small_slots();
    options.direct_io = mode;
    testing::evict(path);
    const Loader loader(options);
    const auto load =
        loader.start(Checkpoint::open({path}), {.zero_copy = false, .device = device, .trace_events = kEvents});
    static_cast<void>(load.get());
    EXPECT_EQ(bytes_by_kind(load.trace().read())[TraceKind::kReading], load.progress().bytes_total);
  }
}

WARPLOAD_ON_ALL_BACKENDS(LoadTraceTest);

TEST(HostLoadTraceTest, WhatIsReadStraightIntoTheArenaIsToldOfAndNothingIsSent) {
  const Loader loader({.threads = 2});
  const auto load =
      loader.start(checkpoint_of(assorted()), {.dtype = DType::f32, .zero_copy = false, .trace_events = kEvents});
  static_cast<void>(load.get());
  auto bytes = bytes_by_kind(load.trace().read());
  EXPECT_EQ(bytes[TraceKind::kReading], load.progress().bytes_total);
  EXPECT_GE(bytes[TraceKind::kCasting], 6'000'002U);
  EXPECT_EQ(bytes[TraceKind::kSending], 0U);
}

TEST(HostLoadTraceTest, PagesOfViewsThatAreBackedAreToldOf) {
  testing::TemporaryDirectory directory{std::filesystem::current_path()};
  const auto path = directory.write("model.safetensors",
                                    testing::safetensors_file({{"a", "BF16", {4'000'000}, bf16_pattern(4'000'000)}}));
  const Loader loader({.threads = 2, .populate = Populate::kAlways});
  const auto load = loader.start(Checkpoint::open({path}), {.trace_events = kEvents});
  static_cast<void>(load.get());
  EXPECT_EQ(load.progress().bytes_total, 0U);
  const Clock::time_point end = Clock::now() + std::chrono::seconds(60);
  std::uint64_t populated = 0;
  while (populated == 0 && Clock::now() < end) populated = bytes_by_kind(load.trace().read())[TraceKind::kPopulating];
  EXPECT_GT(populated, 0U);
  EXPECT_LE(populated, 8'000'000U);
}

}  // namespace
}  // namespace warpload
