#include "device/host_arena.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstring>

#include "cpp/support/catch_error.hpp"
#include "plan/load_plan.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

bool is_mapped(const void* address) {
  unsigned char resident = 0;
  return ::mincore(const_cast<void*>(address), 1, &resident) == 0;
}

TEST(HostArenaTest, SegmentsLieBehindEachOtherAtHugePageBoundaries) {
  const std::array<std::uint64_t, 3> sizes{kSegmentAlignment, 0, 2 * kSegmentAlignment};
  const auto segments = reserve_host_arena(sizes);
  ASSERT_EQ(segments.size(), 3U);
  EXPECT_EQ(segments[1], nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segments[0]->data()) % kSegmentAlignment, 0U);
  EXPECT_EQ(segments[2]->data(), segments[0]->data() + kSegmentAlignment);
  std::memset(segments[2]->data(), 1, segments[2]->bytes());
}

TEST(HostArenaTest, ReleasingASegmentUnmapsItAndLeavesTheOthers) {
  const std::array<std::uint64_t, 2> sizes{kSegmentAlignment, kSegmentAlignment};
  auto segments = reserve_host_arena(sizes);
  std::byte* first = segments[0]->data();
  std::byte* second = segments[1]->data();
  first[0] = second[0] = std::byte{7};
  segments[0].reset();
  EXPECT_FALSE(is_mapped(first));
  EXPECT_EQ(second[0], std::byte{7});
  segments[1].reset();
  EXPECT_FALSE(is_mapped(second));
}

TEST(HostArenaTest, ReleasedPagesReadAsZerosAndTheirNeighboursKeepTheirBytes) {
  const std::array<std::uint64_t, 1> sizes{4 * kSegmentAlignment};
  const auto segment = reserve_host_arena(sizes)[0];
  std::memset(segment->data(), 9, segment->bytes());
  const std::uint64_t begin = 1000;
  const std::uint64_t bytes = 3 * kSegmentAlignment;
  segment->release(begin, bytes);
  EXPECT_EQ(segment->data()[begin - 1], std::byte{9});
  EXPECT_EQ(segment->data()[begin + bytes], std::byte{9});
  EXPECT_EQ(segment->data()[begin + bytes / 2], std::byte{0});
}

TEST(HostArenaTest, ReservationThatCannotFitFailsWithItsSizeInTheMessage) {
  const std::array<std::uint64_t, 2> sizes{std::uint64_t{1} << 50, std::uint64_t{1} << 50};
  const auto error = testing::catch_error<OutOfMemoryError>([&] { static_cast<void>(reserve_host_arena(sizes)); });
  EXPECT_NE(error.reason().find(std::to_string(std::uint64_t{1} << 51)), std::string::npos);
  EXPECT_NE(error.system_error(), 0);
}

TEST(HostArenaTest, SumThatOverflowsIsOutOfMemoryToo) {
  const std::uint64_t half = std::uint64_t{1} << 63;
  const std::array<std::uint64_t, 2> sizes{half, half};
  EXPECT_THROW(static_cast<void>(reserve_host_arena(sizes)), OutOfMemoryError);
}

}  // namespace
}  // namespace warpload
