// What a load tells of itself while it is under way: bytes by segment, and what its workers' time goes to.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "cpp/support/load_cases.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using testing::bf16_pattern;
using testing::checkpoint_of;
using testing::kMiB;
using testing::MemorySource;
using testing::pattern_bytes;

constexpr std::chrono::nanoseconds kNone{0};

// Two MiB that a load to float32 reads.
Checkpoint::Ptr two_mib(MemorySource::Options options = {}) {
  return checkpoint_of({{"a", "BF16", {kMiB}, bf16_pattern(kMiB)}}, std::move(options));
}

LoadTimes times_of(const Loader& loader, const Checkpoint::Ptr& checkpoint, SegmentOptions options) {
  LoadHandle load = loader.start(checkpoint, std::move(options));
  load.wait();
  load.rethrow_if_failed();
  return load.meter().times();
}

TEST(LoadMeterTest, EverySegmentCountsItsOwnBytes) {
  const auto small = checkpoint_of({{"a", "BF16", {3}, bf16_pattern(3)}});
  LoadHandle load = Loader().start({{small, {.dtype = DType::f32}}, {two_mib(), {.dtype = DType::f32}}});
  load.wait();
  const LoadMeter meter = load.meter();
  ASSERT_EQ(meter.segment_count(), 2U);
  EXPECT_EQ(meter.progress(0).bytes_total, 6U);
  EXPECT_EQ(meter.progress(0).bytes_done, 6U);
  EXPECT_EQ(meter.progress(1).bytes_total, 2 * kMiB);
  EXPECT_EQ(meter.progress(1).bytes_done, 2 * kMiB);
  EXPECT_EQ(meter.progress().bytes_done, 2 * kMiB + 6);
  EXPECT_EQ(meter.progress().bytes_total, load.progress().bytes_total);
  EXPECT_THROW(static_cast<void>(meter.progress(2)), InvalidArgumentError);
}

TEST(LoadMeterTest, ViewsAreNotReadAndDoNotCount) {
  const testing::TemporaryDirectory directory;
  const auto path = directory.write("a", testing::safetensors_file({{"a", "U8", {64}, pattern_bytes(64)}}));
  const LoadMeter meter = Loader().start(Checkpoint::open({path})).meter();
  EXPECT_EQ(meter.progress(0).bytes_total, 0U);
  EXPECT_EQ(meter.progress().bytes_total, 0U);
}

TEST(LoadMeterTest, ItOutlivesTheLoadAndKeepsNoTensor) {
  std::optional<LoadHandle> kept = Loader().start(two_mib(), {.dtype = DType::f32});
  const LoadMeter meter = kept->meter();
  kept->wait();
  const Tensor tensor = kept->tensors()[0];
  kept.reset();
  EXPECT_EQ(meter.progress().bytes_done, 2 * kMiB);
  EXPECT_EQ(meter.progress(0).bytes_total, 2 * kMiB);
}

TEST(LoadMeterTest, OfALoadThatWentBeforeItsEndNothingIsStillToCome) {
  const Loader loader({.threads = 1});
  std::optional<LoadHandle> load = loader.start(two_mib({.delay = milliseconds(20)}), {.dtype = DType::f32});
  const LoadMeter meter = load->meter();
  EXPECT_EQ(meter.progress().bytes_total, 2 * kMiB);
  load.reset();
  EXPECT_LT(meter.progress().bytes_done, 2 * kMiB);
  EXPECT_EQ(meter.progress().bytes_total, meter.progress().bytes_done);
}

TEST(LoadMeterTest, WhatIsSkippedOfAReleasedSegmentCountsAsDone) {
  const Loader loader({.threads = 1});
  LoadHandle load =
      loader.start({{two_mib({.delay = milliseconds(1)}), {.dtype = DType::f32}}, {two_mib(), {.dtype = DType::f32}}});
  load.release_segment(0);
  load.wait();
  EXPECT_EQ(load.meter().progress(0).bytes_done, 2 * kMiB);
  EXPECT_EQ(load.meter().progress(1).bytes_done, 2 * kMiB);
}

TEST(LoadMeterTest, OnlyCastsTakeTimeForCasting) {
  const Loader loader({.threads = 2});
  const LoadTimes cast = times_of(loader, two_mib(), {.dtype = DType::f32});
  EXPECT_GT(cast.casting, kNone);
  const LoadTimes copied = times_of(loader, two_mib(), {.zero_copy = false});
  EXPECT_EQ(copied.casting, kNone);
  EXPECT_GT(copied.from_memory + copied.from_disk, kNone);
  EXPECT_EQ(copied.waiting_for_slots + copied.reading + copied.waiting_for_arena + copied.sending, kNone);
}

TEST(LoadMeterTest, ReadsThatAreWaitedForAreNoReadsOfMemory) {
  const Loader loader({.threads = 1});
  const LoadTimes slow = times_of(loader, two_mib({.delay = milliseconds(1)}), {.dtype = DType::f32});
  EXPECT_GT(slow.from_disk, kNone);
  EXPECT_EQ(slow.from_memory, kNone);
}

TEST(LoadMeterTest, ReadsPastThePageCacheAreNoReadsOfMemory) {
  const testing::TemporaryDirectory directory{std::filesystem::current_path()};  // the build's, which is on a disk
  const auto path =
      directory.write("a", testing::safetensors_file({{"a", "BF16", {4 * kMiB}, bf16_pattern(4 * kMiB)}}));
  const auto checkpoint = Checkpoint::open({path});
  const LoadTimes warm =
      times_of(Loader({.threads = 1, .direct_io = DirectIo::kAuto}), checkpoint, {.dtype = DType::f32});
  EXPECT_GT(warm.from_memory, kNone);
  const LoadTimes past =
      times_of(Loader({.threads = 1, .direct_io = DirectIo::kAlways}), checkpoint, {.dtype = DType::f32});
  if (!checkpoint->file(0)->lease()->direct().possible()) GTEST_SKIP() << "this file system has no direct reads";
  EXPECT_GT(past.from_disk, kNone);
}

}  // namespace
}  // namespace warpload
