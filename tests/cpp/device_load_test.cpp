// Loads to a device: one suite for the host, the fake driver and a GPU.
//
// That a slot reused before its copy has run is caught was tried: with DeviceLane::send releasing the slot (so that it
// is free at once) in place of PinnedPool::in_flight, the fake driver shows wrong bytes in
// BytesArriveWhateverTheThreads and nine more cases of this file, and in most of those of cuda_load_test.cpp.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "convert/cast_kernels.hpp"
#include "cpp/support/backends.hpp"
#include "cpp/support/catch_error.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/page_cache.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "device/backend.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::bf16_pattern;
using testing::bytes_of;
using testing::cast_bytes;
using testing::catch_error;
using testing::checkpoint_of;
using testing::f32_pattern;
using testing::kMiB;
using testing::MemorySource;
using testing::open_device;
using testing::pattern_bytes;
using testing::tensors_of;

class DeviceLoadTest : public testing::BackendTest {};

// Small slots, so that little data means many of them.
LoaderOptions small_slots(unsigned threads = 3, std::uint64_t slots = 3) {
  return {.threads = threads, .pinned_bytes = slots * 2 * kMiB, .slot_bytes = 2 * kMiB};
}

std::vector<testing::TensorSpec> assorted() {
  return {{"bytes", "U8", {7}, "1234567"},
          {"small", "BF16", {5}, bf16_pattern(5)},
          {"ids", "I64", {3}, pattern_bytes(24)},
          {"empty", "F32", {0}, ""},
          {"large", "BF16", {3'000'001}, bf16_pattern(3'000'001, 3)},
          {"wide", "F32", {700'003}, f32_pattern(700'003)},
          {"last", "U8", {1}, "z"}};
}

// Memory of the device's that counts among the users of `owner` for as long as somebody has it.
AdoptedMemory lend(const Device& device, std::uint64_t bytes, std::shared_ptr<int> owner) {
  using Kept = std::pair<std::shared_ptr<Segment>, std::shared_ptr<int>>;
  auto segment = device.backend()->allocate({&bytes, 1})[0];
  std::byte* const data = segment->data();
  return {data, std::make_shared<Kept>(std::move(segment), std::move(owner))};
}

TEST_P(DeviceLoadTest, BytesArriveWhateverTheThreads) {
  const Device device = open_device(GetParam());
  const auto specs = assorted();
  const auto checkpoint = checkpoint_of(specs);
  for (const unsigned threads : {1U, 2U, 7U}) {
    const Loader loader(small_slots(threads));
    const auto tensors = loader.start(checkpoint, {.device = device}).get().tensors();
    ASSERT_EQ(tensors.size(), specs.size());
    for (std::size_t index = 0; index < specs.size(); ++index) {
      EXPECT_EQ(tensors[index].name(), specs[index].name);
      EXPECT_EQ(tensors[index].device(), device.id());
      EXPECT_TRUE(bytes_of(tensors[index], device) == specs[index].data) << specs[index].name;
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensors[index].data()) % 256, 0U);
    }
  }
}

TEST_P(DeviceLoadTest, CastsGiveTheSameBytesWhoeverCasts) {
  const Device device = open_device(GetParam());
  const auto specs = assorted();
  const auto checkpoint = checkpoint_of(specs);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    for (const DeviceCasts casts : {DeviceCasts::kHost, DeviceCasts::kDevice, DeviceCasts::kAuto}) {
      LoaderOptions options = small_slots();
      options.device_casts = casts;
      const auto tensors = Loader(options).start(checkpoint, {.dtype = dtype, .device = device}).get().tensors();
      for (std::size_t index = 0; index < specs.size(); ++index) {
        const DType source = *parse_dtype(specs[index].dtype);
        const bool cast = is_floating_point(source) && source != dtype;
        const std::string expected = cast ? cast_bytes(specs[index].data, source, dtype) : specs[index].data;
        EXPECT_TRUE(bytes_of(tensors[index], device) == expected) << specs[index].name;
      }
    }
  }
}

TEST_P(DeviceLoadTest, FilesArriveHoweverTheyAreRead) {
  const Device device = open_device(GetParam());
  testing::TemporaryDirectory directory{std::filesystem::current_path()};  // the build's, which is on a disk
  const auto specs = assorted();
  const auto path = directory.write("model.safetensors", testing::safetensors_file(specs));
  for (const DirectIo mode : {DirectIo::kAuto, DirectIo::kNever, DirectIo::kAlways}) {
    for (const std::optional<DType> dtype : {std::optional<DType>{}, {DType::f32}}) {
      LoaderOptions options = small_slots();
      options.direct_io = mode;
      testing::evict(path);
      const auto checkpoint = Checkpoint::open({path});
      const auto tensors = Loader(options).start(checkpoint, {.dtype = dtype, .device = device}).get().tensors();
      for (std::size_t index = 0; index < specs.size(); ++index) {
        const DType source = *parse_dtype(specs[index].dtype);
        const bool cast = dtype && is_floating_point(source) && source != *dtype;
        const std::string expected = cast ? cast_bytes(specs[index].data, source, *dtype) : specs[index].data;
        EXPECT_TRUE(bytes_of(tensors[index], device) == expected) << specs[index].name;
      }
    }
  }
}

TEST_P(DeviceLoadTest, PaddingBetweenTensorsArrivesAsZeros) {
  const Device device = open_device(GetParam());
  const auto tensors = Loader(small_slots())
                           .start(checkpoint_of({{"a", "U8", {3}, "abc"}, {"b", "U8", {2}, "xy"}}), {.device = device})
                           .get()
                           .tensors();
  ASSERT_EQ(tensors[1].data() - tensors[0].data(), 256);
  std::string padding(253, 'x');
  device.read(tensors[0].data() + 3, reinterpret_cast<std::byte*>(padding.data()), padding.size());
  EXPECT_EQ(padding, std::string(253, '\0'));
}

TEST_P(DeviceLoadTest, TensorsOutliveLoaderHandleAndDevice) {
  TensorList tensors;
  {
    const Device device = open_device(GetParam());
    tensors = Loader(small_slots()).start(checkpoint_of(assorted()), {.device = device}).get().tensors();
  }
  EXPECT_TRUE(bytes_of(tensors[4], open_device(GetParam())) == bf16_pattern(3'000'001, 3));
}

TEST_P(DeviceLoadTest, AdoptedMemoryIsFilledAndItsOwnerGoesWithTheLastTensor) {
  const Device device = open_device(GetParam());
  const auto owner = std::make_shared<int>(1);
  std::vector<Tensor> tensors;
  {
    std::shared_ptr<Segment> memory;
    const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
      const std::uint64_t bytes[] = {sizes[0].bytes};
      memory = device.backend()->allocate(bytes)[0];
      EXPECT_EQ(sizes.size(), 1U);
      EXPECT_EQ(sizes[0].segment, 1U);
      auto both = std::make_shared<std::pair<std::shared_ptr<Segment>, std::shared_ptr<int>>>(memory, owner);
      return std::vector<AdoptedMemory>{{memory->data(), std::move(both)}};
    };
    const auto empty = checkpoint_of({{"empty", "F32", {0}, ""}});
    tensors =
        tensors_of(Loader(small_slots())
                       .start({{empty, {.device = device}}, {checkpoint_of(assorted()), {.device = device}}}, allocate)
                       .get()
                       .tensors(1));
    EXPECT_EQ(tensors[0].data(), memory->data());
  }
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_EQ(bytes_of(tensors[0], device), "1234567");
  tensors.erase(tensors.begin() + 1, tensors.end());
  EXPECT_EQ(owner.use_count(), 2);
  tensors.clear();
  EXPECT_EQ(owner.use_count(), 1);
}

TEST_P(DeviceLoadTest, ArenaOfTheCallersIsFilledByOneLoadAfterTheOther) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const auto checkpoint = checkpoint_of(assorted());
  const std::uint64_t needed = loader.arena_bytes(checkpoint, {.dtype = DType::f32, .device = device});
  const std::uint64_t bytes[] = {2 * needed};
  const std::shared_ptr<Segment> memory = device.backend()->allocate(bytes)[0];
  const Arena arena = Arena::adopt(memory->data(), bytes[0], device, memory);
  for (int round = 0; round < 2; ++round) {
    const auto tensors = loader.start(checkpoint, {.dtype = DType::f32, .arena = arena}).get().tensors();
    EXPECT_EQ(tensors[0].data(), memory->data() + static_cast<std::uint64_t>(round) * needed);
    EXPECT_EQ(tensors[0].device(), device.id());
    EXPECT_EQ(bytes_of(tensors.at("bytes"), device), "1234567");
    EXPECT_TRUE(bytes_of(tensors.at("large"), device) ==
                cast_bytes(bf16_pattern(3'000'001, 3), DType::bf16, DType::f32));
    EXPECT_EQ(bytes_of(tensors.at("last"), device), "z");
  }
  EXPECT_EQ(arena.bytes_taken(), 2 * needed);
  EXPECT_THROW(static_cast<void>(loader.start(checkpoint, {.dtype = DType::f32, .arena = arena})), OutOfMemoryError);
}

TEST_P(DeviceLoadTest, LoadersOwnDeviceIsTheDefault) {
  const Device device = open_device(GetParam());
  LoaderOptions options = small_slots();
  options.device = device;
  const Loader loader(options);
  const auto result =
      loader.start({{checkpoint_of(assorted())}, {checkpoint_of(assorted()), {.device = Device::host()}}}).get();
  EXPECT_EQ(result.tensors(0)[5].device(), device.id());
  EXPECT_TRUE(bytes_of(result.tensors(0)[5], device) == f32_pattern(700'003));
  EXPECT_EQ(result.tensors(1)[5].device(), DeviceId{});
  EXPECT_TRUE(bytes_of(result.tensors(1)[5], Device::host()) == f32_pattern(700'003));
}

TEST_P(DeviceLoadTest, WhatTheAllocatorThrowsPassesThroughAndNothingGoesToTheDevice) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  const SegmentAllocator refuse = [](std::span<const SegmentSize>) -> std::vector<AdoptedMemory> {
    throw std::runtime_error("no memory to lend");
  };
  EXPECT_THROW(static_cast<void>(loader.start({{checkpoint_of(assorted()), {.device = device}}}, refuse)),
               std::runtime_error);
  const SegmentAllocator misaligned = [](std::span<const SegmentSize>) {
    return std::vector<AdoptedMemory>{{reinterpret_cast<std::byte*>(0x1001), nullptr}};
  };
  EXPECT_THROW(static_cast<void>(loader.start({{checkpoint_of(assorted()), {.device = device}}}, misaligned)),
               InvalidArgumentError);
  EXPECT_EQ(testing::counters().copies_to_device, 0U);
  const auto tensors = loader.start(checkpoint_of(assorted()), {.device = device}).get().tensors();
  EXPECT_TRUE(bytes_of(tensors[5], device) == f32_pattern(700'003));
}

TEST_P(DeviceLoadTest, SlotsAreFilledWhileTheAllocatorIsStillAtWork) {
  const Device device = open_device(GetParam());
  const auto source = std::make_shared<MemorySource>(testing::safetensors_file(assorted()));
  const auto checkpoint = Checkpoint::from_sources({source});
  const std::uint64_t header_reads = source->read_count();
  bool filled = false;
  const SegmentAllocator slow = [&](std::span<const SegmentSize> sizes) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!filled && std::chrono::steady_clock::now() < end) filled = source->read_count() > header_reads;
    return std::vector<AdoptedMemory>(sizes.size());  // the device allocates
  };
  const auto tensors = Loader(small_slots()).start({{checkpoint, {.device = device}}}, slow).get().tensors();
  EXPECT_TRUE(filled);
  EXPECT_TRUE(bytes_of(tensors[4], device) == bf16_pattern(3'000'001, 3));
}

TEST_P(DeviceLoadTest, ReadThatFailsWhileTheAllocatorIsAtWorkIsTheLoadsError) {
  const Device device = open_device(GetParam());
  const auto source = std::make_shared<MemorySource>(
      testing::safetensors_file(assorted()), MemorySource::Options{.path = "broken.safetensors", .fail_at_read = 2});
  const auto checkpoint = Checkpoint::from_sources({source});
  const SegmentAllocator slow = [&](std::span<const SegmentSize> sizes) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (source->read_count() <= 2 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return std::vector<AdoptedMemory>(sizes.size());
  };
  const Loader loader(small_slots());
  const auto load = loader.start({{checkpoint, {.device = device}}}, slow);
  EXPECT_EQ(catch_error<IoError>([&] { static_cast<void>(load.get()); }).path(), "broken.safetensors");
}

TEST_P(DeviceLoadTest, WorkingMemoryForCastsComesFromTheAllocatorAndIsKeptUntilItIsReleased) {
  const Device device = open_device(GetParam());
  const auto owner = std::make_shared<int>(1);
  int staging = 0;
  const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
    std::vector<AdoptedMemory> memory;
    for (const SegmentSize& size : sizes) {
      memory.push_back(lend(device, size.bytes, size.staging ? owner : nullptr));
      staging += size.staging ? 1 : 0;
    }
    return memory;
  };
  LoaderOptions options = small_slots();
  options.device_casts = DeviceCasts::kDevice;
  const Loader loader(options);
  for (int round = 0; round < 3; ++round) {
    const auto tensors =
        loader.start({{checkpoint_of(assorted()), {.dtype = DType::f32, .device = device}}}, allocate).get().tensors();
    EXPECT_TRUE(bytes_of(tensors[4], device) == cast_bytes(bf16_pattern(3'000'001, 3), DType::bf16, DType::f32));
  }
  const bool casts = !is_cuda() || !embedded_cast_kernels().empty();  // a driver needs kernels, which nvcc compiles
  EXPECT_EQ(staging, casts ? 1 : 0);
  EXPECT_EQ(owner.use_count() > 1, casts);
  loader.release_pinned_memory();
  EXPECT_EQ(owner.use_count(), 1);
}

TEST_P(DeviceLoadTest, WorkersCastWhereTheAllocatorHasNoWorkingMemory) {
  const Device device = open_device(GetParam());
  const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
    if (sizes[0].staging) throw OutOfMemoryError({.reason = "none for casts"});
    return std::vector<AdoptedMemory>(sizes.size());
  };
  for (const DeviceCasts casts : {DeviceCasts::kDevice, DeviceCasts::kAuto}) {
    LoaderOptions options = small_slots();
    options.device_casts = casts;
    const auto tensors =
        Loader(options).start({{checkpoint_of(assorted()), {.dtype = DType::f16, .device = device}}}, allocate);
    EXPECT_TRUE(bytes_of(tensors.get().tensors()[5], device) ==
                cast_bytes(f32_pattern(700'003), DType::f32, DType::f16));
  }
}

TEST_P(DeviceLoadTest, FailingReadEndsTheLoadAndNamesShardTensorAndRange) {
  const Device device = open_device(GetParam());
  for (const std::uint64_t nth : {2U, 4U, 9U}) {  // 0 and 1 are the header's
    const Loader loader(small_slots());
    auto load = loader.start(checkpoint_of(assorted(), {.path = "broken.safetensors", .fail_at_read = nth}),
                             {.device = device});
    const auto error = catch_error<IoError>([&] { static_cast<void>(load.get()); });
    EXPECT_EQ(error.path(), "broken.safetensors");
    EXPECT_NE(error.tensor(), "");
    EXPECT_TRUE(error.range().has_value());
    EXPECT_TRUE(load.done());
  }
}

TEST_P(DeviceLoadTest, CancelEndsTheLoadWithItsOwnError) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(2));
  auto load = loader.start(checkpoint_of(assorted(), {.delay = milliseconds(20)}), {.device = device});
  load.cancel();
  EXPECT_THROW(static_cast<void>(load.get()), CancelledError);
  EXPECT_LT(load.progress().bytes_done, load.progress().bytes_total);
}

TEST_P(DeviceLoadTest, ItsMeterTellsReadsFromCasts) {
  const Device device = open_device(GetParam());
  LoaderOptions options = small_slots(2);
  options.device_casts = DeviceCasts::kHost;
  LoadHandle load = Loader(options).start(checkpoint_of(assorted(), {.delay = milliseconds(1)}),
                                          {.dtype = DType::f16, .device = device});
  load.wait();
  load.rethrow_if_failed();
  const LoadMeter meter = load.meter();
  EXPECT_EQ(meter.progress(0).bytes_done, meter.progress(0).bytes_total);
  EXPECT_GT(meter.progress(0).bytes_total, 0U);
  const LoadTimes times = meter.times();
  EXPECT_GT(times.from_disk.count(), 0);
  EXPECT_GT(times.casting.count(), 0);
  EXPECT_LE(times.from_disk + times.from_memory + times.casting, times.reading);
}

TEST_P(DeviceLoadTest, DestroyingTheHandleDrainsAndFrees) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(2));
  {
    auto load = loader.start(checkpoint_of(assorted()), {.device = device});
  }
  EXPECT_EQ(bytes_of(loader.start(checkpoint_of(assorted()), {.device = device}).get().tensors()[0], device),
            "1234567");
}

TEST_P(DeviceLoadTest, OneSlotIsEnough) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(4, 1));
  const auto tensors = loader.start(checkpoint_of(assorted()), {.device = device}).get().tensors();
  EXPECT_TRUE(bytes_of(tensors[4], device) == bf16_pattern(3'000'001, 3));
  EXPECT_EQ(loader.pinned_bytes(), 2 * kMiB);
}

TEST_P(DeviceLoadTest, RingStaysWithinItsBoundAndServesTheNextLoad) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(8, 3));
  for (int round = 0; round < 3; ++round) {
    static_cast<void>(loader.start(checkpoint_of(assorted()), {.device = device}).get());
    EXPECT_LE(loader.pinned_bytes(), 6 * kMiB);
  }
  const std::uint64_t pinned = loader.pinned_bytes();
  EXPECT_EQ(loader.release_pinned_memory(), pinned);
  EXPECT_EQ(loader.pinned_bytes(), 0U);
  const auto tensors = loader.start(checkpoint_of(assorted()), {.device = device}).get().tensors();
  EXPECT_EQ(bytes_of(tensors[0], device), "1234567");
}

TEST_P(DeviceLoadTest, SegmentsAreReadyInTheOrderOfTheRequests) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(1));
  auto load = loader.start({{checkpoint_of(assorted()), {.device = device}},
                            {checkpoint_of(assorted(), {.delay = milliseconds(30)}), {.device = device}}});
  EXPECT_TRUE(load.wait_segment_for(0, seconds(60)));
  load.wait_arrival(0);
  EXPECT_FALSE(load.done());
  EXPECT_TRUE(bytes_of(load.tensors(0)[5], device) == f32_pattern(700'003));
  EXPECT_TRUE(load.wait_segment_for(1, seconds(60)));
}

TEST_P(DeviceLoadTest, SegmentThatIsReleasedIsNotReadFurtherAndTheOthersArrive) {
  const Device device = open_device(GetParam());
  const auto source = std::make_shared<MemorySource>(testing::safetensors_file(assorted()),
                                                     MemorySource::Options{.delay = milliseconds(30)});
  const auto owner = std::make_shared<int>(1);
  const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
    std::vector<AdoptedMemory> memory;
    for (const SegmentSize& size : sizes) memory.push_back(lend(device, size.bytes, owner));
    return memory;
  };
  const Loader loader(small_slots(1));
  const auto load = loader.start(
      {{checkpoint_of(assorted()), {.device = device}}, {Checkpoint::from_sources({source}), {.device = device}}},
      allocate);
  EXPECT_EQ(owner.use_count(), 3);
  load.release_segment(1);
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_LT(source->read_count(), 20U);  // the whole would be some twenty runs and the header
  EXPECT_TRUE(load.tensors(1).empty());
  EXPECT_TRUE(bytes_of(load.get().tensors()[5], device) == f32_pattern(700'003));
}

TEST_P(DeviceLoadTest, SegmentsMayBeReleasedWhileOtherThreadsAskForTheResult) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(2));
  const auto load =
      loader.start({{checkpoint_of(assorted()), {.device = device}}, {checkpoint_of(assorted()), {.device = device}}});
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&] { load.release_segment(1); });
    threads.emplace_back([&] { EXPECT_TRUE(bytes_of(load.get().tensors()[5], device) == f32_pattern(700'003)); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(load.tensors(1).empty());
}

TEST_P(DeviceLoadTest, LoadsRunSideBySideOnOneLoader) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots(3, 4));
  std::vector<LoadHandle> loads;
  for (int index = 0; index < 4; ++index) {
    loads.push_back(loader.start(checkpoint_of(assorted()), {.device = device}));
  }
  for (const LoadHandle& load : loads) EXPECT_TRUE(bytes_of(load.get().tensors()[5], device) == f32_pattern(700'003));
}

TEST_P(DeviceLoadTest, SegmentsOnTheHostAndOnADeviceLoadTogether) {
  const Device device = open_device(GetParam());
  const auto result =
      Loader(small_slots()).start({{checkpoint_of(assorted())}, {checkpoint_of(assorted()), {.device = device}}}).get();
  EXPECT_EQ(result.tensors(0)[5].device(), DeviceId{});
  EXPECT_TRUE(bytes_of(result.tensors(0)[5], Device::host()) == f32_pattern(700'003));
  EXPECT_TRUE(bytes_of(result.tensors(1)[5], device) == f32_pattern(700'003));
}

TEST_P(DeviceLoadTest, PreparedDeviceLoadsLikeAnyOther) {
  const Device device = open_device(GetParam());
  const Loader loader(small_slots());
  loader.prepare(device, 4 * kMiB);
  const auto tensors = loader.start(checkpoint_of(assorted()), {.device = device}).get().tensors();
  EXPECT_EQ(bytes_of(tensors[0], device), "1234567");
}

TEST_P(DeviceLoadTest, TensorsOfMemoryArriveLikeThoseOfFiles) {
  const Device device = open_device(GetParam());
  const std::string data = f32_pattern(1'000'003);
  const auto owner = std::make_shared<int>(1);
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data.data()), data.size()};
  auto checkpoint = Checkpoint::from_memory(
      {{"whole", DType::f32, {1'000'003}, bytes, owner}, {"part", DType::u8, {5}, bytes.subspan(3, 5), owner}});
  const auto tensors =
      Loader(small_slots()).start(checkpoint, {.dtype = DType::bf16, .device = device}).get().tensors();
  EXPECT_TRUE(bytes_of(tensors[0], device) == cast_bytes(data, DType::f32, DType::bf16));
  EXPECT_EQ(bytes_of(tensors[1], device), data.substr(3, 5));
  EXPECT_EQ(owner.use_count(), 3);
  checkpoint.reset();
  EXPECT_EQ(owner.use_count(), 1);
}

WARPLOAD_ON_ALL_BACKENDS(DeviceLoadTest);

}  // namespace
}  // namespace warpload
