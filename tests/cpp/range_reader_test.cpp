#include "io/range_reader.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/counting_reader.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/page_cache.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::CountingReader;
using testing::evict;
using testing::MemorySource;
using testing::pattern_bytes;
using testing::TemporaryDirectory;

constexpr std::uint64_t kWindow = RangeReader::kWindowBytes;
constexpr std::uint64_t kRun = std::uint64_t{512} << 10;

// Calls that a test can count on everywhere: reads go through the page cache where the file system knows no others.
DirectCalls lenient_calls() {
  return {.open = [](const char* path, int flags) { return ::open(path, flags & ~O_DIRECT); }};
}

DirectCalls refusing_calls() {
  return {.open = [](const char*, int) {
    errno = EINVAL;
    return -1;
  }};
}

// In the directory that the test runs in: the build's, which is on a disk.
class RangeReaderTest : public ::testing::Test {
 protected:
  // Reads the whole file in runs, looking ahead as far as it goes.
  static std::string read_in_runs(CountingReader& reader, const File& file, std::uint64_t run_bytes) {
    std::string text;
    for (std::uint64_t begin = 0; begin < file.size(); begin += run_bytes) {
      text += reader.read(file, {begin, std::min(begin + run_bytes, file.size())}, file.size());
    }
    return text;
  }

  TemporaryDirectory directory_{std::filesystem::current_path()};
};

TEST_F(RangeReaderTest, RangesOfEveryAlignmentHoldTheirBytesWhateverTheMode) {
  const std::string content = pattern_bytes(3 * 65536 + 1234);
  const auto path = directory_.write("data", content);
  const std::uint64_t edges[] = {0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 3 * 65536, content.size()};
  for (const DirectIo mode : {DirectIo::kAuto, DirectIo::kNever, DirectIo::kAlways}) {
    for (const bool lenient : {false, true}) {
      const auto file = File::open(path, lenient ? lenient_calls() : DirectCalls{});
      for (const std::uint64_t begin : edges) {
        for (const std::uint64_t end : edges) {
          if (end < begin) continue;
          CountingReader reader(mode);
          EXPECT_EQ(reader.read(*file, {begin, end}, 0), content.substr(begin, end - begin)) << begin << ' ' << end;
        }
      }
    }
  }
}

TEST_F(RangeReaderTest, FilesOfEverySizeAreReadToTheirLastByte) {
  for (const std::size_t size : {1U, 100U, 4095U, 4096U, 4097U, 65'537U, 700'001U}) {
    const std::string content = pattern_bytes(size);
    const auto file = File::open(directory_.write("data" + std::to_string(size), content));
    for (const std::uint64_t run : {std::uint64_t{777}, std::uint64_t{4096}, kRun}) {
      CountingReader reader(DirectIo::kAlways);
      EXPECT_EQ(read_in_runs(reader, *file, run), content) << size << ' ' << run;
    }
  }
}

TEST_F(RangeReaderTest, RangesAcrossTheEndsOfWindowsHoldTheirBytes) {
  const std::string content = pattern_bytes(2 * kWindow + 54'321);
  const auto file = File::open(directory_.write("data", content), lenient_calls());
  for (const std::uint64_t run : {kRun, kRun - 3, std::uint64_t{300'007}, kWindow - 1, kWindow}) {
    CountingReader reader(DirectIo::kAlways);
    EXPECT_TRUE(read_in_runs(reader, *file, run) == content) << run;
    EXPECT_EQ(reader.plain_reads(), 0U);
  }
}

TEST_F(RangeReaderTest, RangesLargerThanAWindowAreReadPlainly) {
  const std::string content = pattern_bytes(kWindow + 10);
  const auto file = File::open(directory_.write("data", content), lenient_calls());
  CountingReader reader(DirectIo::kAlways);
  EXPECT_TRUE(reader.read(*file, {5, content.size()}, 0) == content.substr(5));
  EXPECT_EQ(reader.plain_reads(), 1U);
}

TEST_F(RangeReaderTest, OneWindowServesTheRangesThatFollowIt) {
  const std::string content = pattern_bytes(2 * kWindow);
  const auto file = File::open(directory_.write("data", content), lenient_calls());
  CountingReader reader(DirectIo::kAlways);
  EXPECT_TRUE(read_in_runs(reader, *file, kRun) == content);
  EXPECT_EQ(reader.direct_windows(), 2U);
}

TEST_F(RangeReaderTest, NothingIsReadBeyondTheLookaheadButToFillABlock) {
  std::vector<std::uint64_t> ends;
  DirectCalls calls = lenient_calls();
  calls.pread = [&](int descriptor, void* memory, std::size_t size, off_t offset) {
    ends.push_back(static_cast<std::uint64_t>(offset) + size);
    return ::pread(descriptor, memory, size, offset);
  };
  const auto file = File::open(directory_.write("data", pattern_bytes(kWindow)), calls);
  CountingReader reader(DirectIo::kAlways);
  reader.read(*file, {100, 200}, 300);
  reader.read(*file, {65'536, 65'540}, 131'072);
  const std::uint64_t block = file->lease()->direct().block();
  EXPECT_EQ(ends, (std::vector<std::uint64_t>{block, 131'072}));
}

TEST_F(RangeReaderTest, HotRangesAreReadPlainly) {
  const std::string content = pattern_bytes(2 * kWindow);
  const auto path = directory_.write("data", content);  // and so in the page cache
  for (const DirectIo mode : {DirectIo::kAuto, DirectIo::kNever}) {
    const auto file = File::open(path, lenient_calls());
    CountingReader reader(mode);
    EXPECT_TRUE(read_in_runs(reader, *file, kRun) == content);
    EXPECT_EQ(reader.plain_reads(), 2 * kWindow / kRun);
    EXPECT_EQ(reader.direct_windows() + reader.cold_windows(), 0U);
  }
}

TEST_F(RangeReaderTest, OnlyTheColdPartOfAFileIsReadPastThePageCache) {
  const std::string content = pattern_bytes(4 * kWindow);
  const auto path = directory_.write("data", content);
  const bool evictable = evict(path, kWindow, 2 * kWindow);
  const auto file = File::open(path, lenient_calls());
  CountingReader reader(DirectIo::kAuto);
  EXPECT_TRUE(read_in_runs(reader, *file, kRun) == content);
  EXPECT_EQ(reader.direct_windows(), evictable ? 2U : 0U);
  EXPECT_EQ(reader.plain_reads(), (evictable ? 2 : 4) * kWindow / kRun);
}

TEST_F(RangeReaderTest, AWindowThatIsHalfHotIsReadPlainlyAndOneThatIsLessIsNot) {
  const std::string content = pattern_bytes(kWindow);
  const auto half = directory_.write("half", content);
  const auto less = directory_.write("less", content);
  const bool evictable = evict(half, kWindow / 2) && evict(less, kWindow / 2 - 4096 * 16);
  CountingReader reader(DirectIo::kAuto);
  const auto half_file = File::open(half, lenient_calls());
  EXPECT_TRUE(reader.read(*half_file, {0, kRun}, kWindow) == content.substr(0, kRun));
  EXPECT_EQ(reader.direct_windows(), 0U);
  const auto less_file = File::open(less, lenient_calls());
  EXPECT_TRUE(reader.read(*less_file, {0, kRun}, kWindow) == content.substr(0, kRun));
  EXPECT_EQ(reader.direct_windows(), evictable ? 1U : 0U);
}

TEST_F(RangeReaderTest, DirectReadsLeaveThePageCacheAsItWas) {
  const auto path = directory_.write("data", pattern_bytes(kWindow));
  const auto file = File::open(path);
  if (evict(path) && file->lease()->direct().possible()) {
    CountingReader reader(DirectIo::kAuto);
    EXPECT_TRUE(read_in_runs(reader, *file, kRun) == pattern_bytes(kWindow));
    EXPECT_EQ(reader.direct_windows(), 1U);
    EXPECT_EQ(file->residency().count({0, kWindow}).resident, 0U);
  }
}

TEST_F(RangeReaderTest, WhereDirectReadsAreRefusedColdRangesAreReadInLargeBufferedWindows) {
  const std::string content = pattern_bytes(2 * kWindow + 11);
  const auto path = directory_.write("data", content);
  DirectCalls refused_at_read = lenient_calls();
  refused_at_read.pread = [](int, void*, std::size_t, off_t) -> ssize_t {
    errno = EINVAL;
    return -1;
  };
  for (const DirectCalls& calls : {refusing_calls(), refused_at_read}) {
    const auto file = File::open(path, calls);
    CountingReader reader(DirectIo::kAlways);
    EXPECT_TRUE(read_in_runs(reader, *file, kRun) == content);
    EXPECT_EQ(reader.cold_windows(), 3U);
    EXPECT_EQ(reader.direct_windows(), 0U);
    EXPECT_EQ(reader.plain_reads(), 0U);
  }
}

// Memory as a slot has it: aligned, with room for blocks at either end.
class SlotMemory {
 public:
  explicit SlotMemory(std::size_t size)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(DirectFile::kMemoryAlignment, size)), &std::free),
        size_(size) {}
  [[nodiscard]] std::span<std::byte> bytes() const { return {memory_.get(), size_}; }
  [[nodiscard]] std::string text(std::size_t offset, std::size_t size) const {
    return {reinterpret_cast<const char*>(memory_.get()) + offset, size};
  }

 private:
  std::unique_ptr<std::byte, void (*)(void*)> memory_;
  std::size_t size_;
};

TEST_F(RangeReaderTest, StraightReadsHoldTheirBytesWhereverTheyBeginAndEnd) {
  const std::string content = pattern_bytes(3 * 65536 + 1234);
  const auto file = File::open(directory_.write("data", content), lenient_calls());
  const SlotMemory memory(std::size_t{8} * 65536);
  RangeReader reader(DirectIo::kAlways);
  for (const std::uint64_t begin : {0U, 1U, 4095U, 4096U, 65537U}) {
    for (const std::uint64_t end : {begin + 1, begin + 4096, begin + 100'000, content.size()}) {
      const auto lead = reader.read_straight(*file, {begin, end}, memory.bytes());
      ASSERT_TRUE(lead.has_value()) << begin << ' ' << end;
      EXPECT_TRUE(memory.text(*lead, end - begin) == content.substr(begin, end - begin)) << begin << ' ' << end;
    }
  }
}

TEST_F(RangeReaderTest, HotRangesAndThoseThatDoNotFitAreNotReadStraight) {
  const auto file = File::open(directory_.write("data", pattern_bytes(100'000)), lenient_calls());
  const SlotMemory memory(65536);
  EXPECT_FALSE(RangeReader(DirectIo::kAuto).read_straight(*file, {0, 10'000}, memory.bytes()).has_value());
  EXPECT_FALSE(RangeReader(DirectIo::kNever).read_straight(*file, {0, 10'000}, memory.bytes()).has_value());
  EXPECT_FALSE(RangeReader(DirectIo::kAlways).read_straight(*file, {0, 100'000}, memory.bytes()).has_value());
  EXPECT_FALSE(RangeReader(DirectIo::kAlways).read_straight(*file, {0, 100'001}, memory.bytes()).has_value());
  const auto refused = File::open(directory_.path() / "data", refusing_calls());
  EXPECT_FALSE(RangeReader(DirectIo::kAlways).read_straight(*refused, {0, 10'000}, memory.bytes()).has_value());
}

TEST_F(RangeReaderTest, StraightReadOfAFileThatShrankIsLeftToThePlainReadWhichWordsTheError) {
  const auto path = directory_.write("data", pattern_bytes(100'000));
  const auto file = File::open(path, lenient_calls());
  std::filesystem::resize_file(path, 50'000);
  const SlotMemory memory(std::size_t{4} * 65536);
  RangeReader reader(DirectIo::kAlways);
  EXPECT_FALSE(reader.read_straight(*file, {0, 60'000}, memory.bytes()).has_value());
  EXPECT_TRUE(reader.read_straight(*file, {0, 40'000}, memory.bytes()).has_value());
}

TEST_F(RangeReaderTest, AWindowOfOneFileDoesNotServeAnother) {
  const auto first = File::open(directory_.write("a", std::string(10'000, 'a')), lenient_calls());
  const auto second = File::open(directory_.write("b", std::string(10'000, 'b')), lenient_calls());
  CountingReader reader(DirectIo::kAlways);
  EXPECT_EQ(reader.read(*first, {0, 10}, 10'000), "aaaaaaaaaa");
  EXPECT_EQ(reader.read(*second, {10, 20}, 10'000), "bbbbbbbbbb");
  EXPECT_EQ(reader.read(*first, {20, 30}, 10'000), "aaaaaaaaaa");
}

TEST_F(RangeReaderTest, SourcesThatAreNoFilesAreReadPlainly) {
  const MemorySource source(pattern_bytes(10'000));
  std::string text(100, '?');
  RangeReader reader(DirectIo::kAlways);
  reader.read_plainly(source, nullptr, {50, 150}, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, pattern_bytes(10'000).substr(50, 100));
  EXPECT_EQ(source.read_count(), 1U);
  EXPECT_EQ(source.byte_count(), 100U);
}

TEST_F(RangeReaderTest, AFileThatShrankGivesItsBytesAndThenTheErrorOfAPlainRead) {
  const std::string content = pattern_bytes(1'000'000);
  int number = 0;
  for (const DirectCalls& calls : {DirectCalls{}, lenient_calls(), refusing_calls()}) {
    const auto path = directory_.write(std::to_string(number++), content);
    const auto file = File::open(path, calls);
    std::filesystem::resize_file(path, 600'000);
    CountingReader reader(DirectIo::kAlways);
    EXPECT_TRUE(reader.read(*file, {0, 500'000}, 1'000'000) == content.substr(0, 500'000));
    const auto error = catch_error<IoError>([&] { reader.read(*file, {500'000, 800'000}, 1'000'000); });
    EXPECT_EQ(error.reason(), "the file shrank while it was being read");
    EXPECT_EQ(error.path(), path.string());
    EXPECT_EQ(error.range(), (ByteRange{600'000, 800'000}));
    EXPECT_EQ(error.system_error(), 0);
  }
}

TEST_F(RangeReaderTest, ADirectReadThatFailsIsRepeatedPlainly) {
  DirectCalls calls = lenient_calls();
  calls.pread = [](int, void*, std::size_t, off_t) -> ssize_t {
    errno = EIO;
    return -1;
  };
  const std::string content = pattern_bytes(100'000);
  const auto file = File::open(directory_.write("data", content), calls);
  CountingReader reader(DirectIo::kAlways);
  EXPECT_TRUE(read_in_runs(reader, *file, 50'000) == content);
  EXPECT_EQ(reader.plain_reads(), 2U);
}

TEST_F(RangeReaderTest, ARangeBeyondTheEndIsRefusedAsByThePlainRead) {
  const auto file = File::open(directory_.write("data", "abcdef"), lenient_calls());
  CountingReader reader(DirectIo::kAlways);
  const auto error = catch_error<IoError>([&] { reader.read(*file, {4, 9}, 9); });
  EXPECT_EQ(error.range(), (ByteRange{6, 9}));
  EXPECT_NE(error.reason().find("beyond the end"), std::string::npos);
}

}  // namespace
}  // namespace warpload
