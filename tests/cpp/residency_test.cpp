#include "io/residency.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "cpp/support/page_cache.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"

namespace warpload {
namespace {

using testing::evict;
using testing::pattern_bytes;
using testing::TemporaryDirectory;

const std::uint64_t kPage = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));

// In the directory that the test runs in: the build's, which is on a disk.
class ResidencyTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_{std::filesystem::current_path()};
};

TEST_F(ResidencyTest, BytesJustWrittenAreResident) {
  const auto file = File::open(directory_.write("data", pattern_bytes(100 * kPage)));
  const PageCount pages = file->residency().count({0, file->size()});
  EXPECT_EQ(pages.total, 100U);
  EXPECT_EQ(pages.resident, 100U);
}

TEST_F(ResidencyTest, EvictedBytesAreNotAndAskingBringsNothingBack) {
  const auto path = directory_.write("data", pattern_bytes(3000 * kPage));
  const bool evictable = evict(path);
  const auto file = File::open(path);
  for (int round = 0; round < 2; ++round) {
    const PageCount pages = file->residency().count({0, file->size()});
    EXPECT_EQ(pages.total, 3000U);
    EXPECT_EQ(pages.resident, evictable ? 0U : 3000U);
  }
}

TEST_F(ResidencyTest, OnlyPagesOfTheRangeCount) {
  const auto path = directory_.write("data", pattern_bytes(2048 * kPage));
  const bool evictable = evict(path, 1024 * kPage);
  const auto file = File::open(path);
  EXPECT_EQ(file->residency().count({0, 1024 * kPage}).resident, 1024U);
  EXPECT_EQ(file->residency().count({1024 * kPage, 2048 * kPage}).resident, evictable ? 0U : 1024U);
  const PageCount across = file->residency().count({1023 * kPage + 1, 1024 * kPage + 1});
  EXPECT_EQ(across.total, 2U);
  EXPECT_EQ(across.resident, evictable ? 1U : 2U);
}

TEST_F(ResidencyTest, PagesThatTheRangeTouchesWithOneByteCount) {
  const auto file = File::open(directory_.write("data", pattern_bytes(3 * kPage + 1)));
  EXPECT_EQ(file->residency().count({kPage - 1, kPage + 1}).total, 2U);
  EXPECT_EQ(file->residency().count({kPage, 2 * kPage}).total, 1U);
  EXPECT_EQ(file->residency().count({3 * kPage, 3 * kPage + 1}).total, 1U);
}

TEST_F(ResidencyTest, BytesBeyondTheEndAndEmptyRangesAreNoPages) {
  const auto file = File::open(directory_.write("data", pattern_bytes(10)));
  EXPECT_EQ(file->residency().count({0, 100 * kPage}).total, 1U);
  EXPECT_EQ(file->residency().count({50 * kPage, 100 * kPage}).total, 0U);
  EXPECT_EQ(file->residency().count({5, 5}).total, 0U);
  EXPECT_EQ(File::open(directory_.write("empty", ""))->residency().count({0, 1}).total, 0U);
}

TEST_F(ResidencyTest, AFileThatCannotBeMappedCountsAsResident) {
  const auto path = directory_.write("data", pattern_bytes(5 * kPage));
  const UniqueFd write_only(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(write_only);
  static_cast<void>(evict(path));
  const Residency residency(5 * kPage);
  residency.map(write_only.get());
  const PageCount pages = residency.count({0, 5 * kPage});
  EXPECT_EQ(pages.resident, 5U);
  EXPECT_EQ(pages.total, 5U);
}

TEST_F(ResidencyTest, AFileThatShrankRaisesNoSignal) {
  const auto path = directory_.write("data", pattern_bytes(50 * kPage));
  const auto file = File::open(path);
  std::filesystem::resize_file(path, 10);
  EXPECT_EQ(file->residency().count({0, file->size()}).total, 50U);
}

TEST_F(ResidencyTest, ManyThreadsMayAskFirst) {
  const auto file = File::open(directory_.write("data", pattern_bytes(100 * kPage)));
  std::vector<std::uint64_t> answers(4);
  std::vector<std::thread> threads;
  for (auto& answer : answers) {
    threads.emplace_back([&] { answer = file->residency().count({0, file->size()}).resident; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answers, std::vector<std::uint64_t>(4, 100));
}

}  // namespace
}  // namespace warpload
