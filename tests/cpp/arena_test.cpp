#include "warpload/arena.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using testing::bf16_pattern;
using testing::bytes_of;
using testing::cast_bytes;
using testing::catch_error;
using testing::checkpoint_of;
using testing::TemporaryDirectory;

struct alignas(256) Memory {
  std::array<std::byte, 4096> bytes = {};
};

TEST(ArenaTest, PiecesFollowEachOtherAtMultiplesOf256) {
  Memory memory;
  const Arena arena = Arena::adopt(memory.bytes.data(), 1000, Device::host());
  EXPECT_EQ(arena.take(1), memory.bytes.data());
  EXPECT_EQ(arena.take(300), memory.bytes.data() + 256);
  EXPECT_EQ(arena.take(10), memory.bytes.data() + 768);
  EXPECT_EQ(arena.bytes_taken(), 1000U);
  EXPECT_EQ(arena.bytes(), 1000U);
}

TEST(ArenaTest, WhatDoesNotFitIsRefusedWithTheSizesAndNothingIsTaken) {
  Memory memory;
  const Arena arena = Arena::adopt(memory.bytes.data(), 1000, Device::host());
  static_cast<void>(arena.take(256));
  const auto error = catch_error<OutOfMemoryError>([&] { static_cast<void>(arena.take(745)); });
  EXPECT_NE(error.reason().find("745"), std::string::npos);
  EXPECT_NE(error.reason().find("744"), std::string::npos);
  EXPECT_EQ(arena.bytes_taken(), 256U);
  EXPECT_EQ(arena.take(744), memory.bytes.data() + 256);
}

TEST(ArenaTest, MemoryThatIsNotAlignedOrNotThereIsRefused) {
  Memory memory;
  EXPECT_THROW(static_cast<void>(Arena::adopt(memory.bytes.data() + 64, 1000, Device::host())), InvalidArgumentError);
  EXPECT_THROW(static_cast<void>(Arena::adopt(nullptr, 1000, Device::host())), InvalidArgumentError);
}

TEST(ArenaTest, NoMemoryAtAllIsAnArenaOfNothing) {
  const Arena arena = Arena::adopt(nullptr, 0, Device::host());
  EXPECT_THROW(static_cast<void>(arena.take(1)), OutOfMemoryError);
}

TEST(ArenaTest, OnlyWhatWasTakenLastIsGivenBack) {
  Memory memory;
  const Arena arena = Arena::adopt(memory.bytes.data(), 1000, Device::host());
  std::byte* const first = arena.take(300);
  std::byte* const second = arena.take(488);
  EXPECT_FALSE(arena.release(first, 300));
  EXPECT_TRUE(arena.release(second, 488));
  EXPECT_EQ(arena.bytes_taken(), 512U);
  EXPECT_TRUE(arena.release(first, 300));
  EXPECT_EQ(arena.bytes_taken(), 0U);
}

TEST(ArenaTest, CopiesShareWhatIsTaken) {
  Memory memory;
  const Arena arena = Arena::adopt(memory.bytes.data(), memory.bytes.size(), Device::host());
  const Arena copy = arena;
  static_cast<void>(copy.take(256));
  EXPECT_EQ(arena.take(1), memory.bytes.data() + 256);
}

// ---- loads to the host into memory of the caller's ------------------------------------------------------------------

TEST(HostArenaLoadTest, TensorsLieInTheCallersMemoryAndNoneIsAView) {
  TemporaryDirectory directory;
  const auto checkpoint = Checkpoint::open(directory.write(
      "a.safetensors", testing::safetensors_file({{"a", "U8", {4}, "abcd"}, {"b", "BF16", {5}, bf16_pattern(5)}})));
  Memory memory;
  const Loader loader;
  const std::uint64_t needed = loader.arena_bytes(checkpoint, {.dtype = DType::f32});
  EXPECT_EQ(needed, 512U);
  const Arena arena = Arena::adopt(memory.bytes.data(), needed, Device::host());
  const auto tensors = loader.start(checkpoint, {.dtype = DType::f32, .arena = arena}).get().tensors();
  EXPECT_EQ(tensors.at("a").data(), memory.bytes.data());
  EXPECT_EQ(tensors.at("b").data(), memory.bytes.data() + 256);
  EXPECT_EQ(bytes_of(tensors.at("a"), Device::host()), "abcd");
  EXPECT_EQ(bytes_of(tensors.at("b"), Device::host()), cast_bytes(bf16_pattern(5), DType::bf16, DType::f32));
}

TEST(HostArenaLoadTest, LoadsTakeOnePartAfterTheOther) {
  Memory memory;
  const Loader loader;
  const Arena arena = Arena::adopt(memory.bytes.data(), memory.bytes.size(), Device::host());
  const auto result = loader
                          .start({{checkpoint_of({{"a", "U8", {300}, std::string(300, 'a')}}), {.arena = arena}},
                                  {checkpoint_of({{"b", "U8", {1}, "b"}}), {.arena = arena}}})
                          .get();
  const auto later = loader.start(checkpoint_of({{"c", "U8", {1}, "c"}}), {.arena = arena}).get();
  EXPECT_EQ(result.tensors(0)[0].data(), memory.bytes.data());
  EXPECT_EQ(result.tensors(1)[0].data(), memory.bytes.data() + 512);
  EXPECT_EQ(later.tensors()[0].data(), memory.bytes.data() + 768);
  EXPECT_EQ(bytes_of(result.tensors(0)[0], Device::host()), std::string(300, 'a'));
  EXPECT_EQ(bytes_of(result.tensors(1)[0], Device::host()), "b");
  EXPECT_EQ(bytes_of(later.tensors()[0], Device::host()), "c");
}

TEST(HostArenaLoadTest, ArenaThatIsTooSmallIsRefusedBeforeAnythingIsRead) {
  Memory memory;
  const auto source =
      std::make_shared<testing::MemorySource>(testing::safetensors_file({{"a", "U8", {600}, std::string(600, 'a')}}));
  const auto checkpoint = Checkpoint::from_sources({source});
  const std::uint64_t reads = source->read_count();
  const Arena arena = Arena::adopt(memory.bytes.data(), 512, Device::host());
  const auto error =
      catch_error<OutOfMemoryError>([&] { static_cast<void>(Loader().start(checkpoint, {.arena = arena})); });
  EXPECT_NE(error.what(), std::string());
  EXPECT_EQ(source->read_count(), reads);
  EXPECT_EQ(arena.bytes_taken(), 0U);
}

TEST(HostArenaLoadTest, LoadThatCannotStartGivesBackWhatItTook) {
  Memory memory;
  const Loader loader;
  const Arena arena = Arena::adopt(memory.bytes.data(), 512, Device::host());
  const SegmentRequest large{checkpoint_of({{"a", "U8", {300}, std::string(300, 'a')}}), {.arena = arena}};
  const SegmentRequest small{checkpoint_of({{"b", "U8", {1}, "b"}}), {.arena = arena}};
  EXPECT_EQ(loader.arena_bytes({large, small}), 768U);
  EXPECT_THROW(static_cast<void>(loader.start({large, small})), OutOfMemoryError);
  EXPECT_EQ(arena.bytes_taken(), 0U);
  EXPECT_EQ(bytes_of(loader.start({small}).get().tensors()[0], Device::host()), "b");
  EXPECT_EQ(arena.bytes_taken(), 256U);
}

TEST(HostArenaLoadTest, OwnerGoesWithTheArenaAndTheLastTensor) {
  const auto memory = std::make_shared<Memory>();
  TensorList tensors;
  {
    const Arena arena = Arena::adopt(memory->bytes.data(), memory->bytes.size(), Device::host(), memory);
    tensors = Loader().start(checkpoint_of({{"a", "U8", {1}, "a"}}), {.arena = arena}).get().tensors();
  }
  EXPECT_EQ(memory.use_count(), 2);
  tensors = {};
  EXPECT_EQ(memory.use_count(), 1);
}

TEST(HostArenaLoadTest, AllocatorBringsMemoryOfTheHostTooAndMayLeaveItToTheLoad) {
  Memory memory;
  const SegmentAllocator allocate = [&](std::span<const SegmentSize> sizes) {
    EXPECT_EQ(sizes.size(), 2U);
    EXPECT_EQ(sizes[1].device, DeviceId{});
    return std::vector<AdoptedMemory>{{}, {memory.bytes.data(), {}}};
  };
  const auto result =
      Loader()
          .start({{checkpoint_of({{"own", "U8", {3}, "own"}})}, {checkpoint_of({{"theirs", "U8", {6}, "theirs"}})}},
                 allocate)
          .get();
  EXPECT_EQ(bytes_of(result.tensors(0)[0], Device::host()), "own");
  EXPECT_EQ(result.tensors(1)[0].data(), memory.bytes.data());
  EXPECT_EQ(bytes_of(result.tensors(1)[0], Device::host()), "theirs");
}

}  // namespace
}  // namespace warpload
