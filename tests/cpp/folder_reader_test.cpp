#include "io/folder_reader.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cpp/support/page_cache.hpp"
#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

using testing::TemporaryDirectory;

constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
constexpr std::uint64_t kPart = FolderReader::kPartBytes;

// Notes what is read, and says what a test wants of it.
class Recorder {
 public:
  ReadAway reads() {
    return [this](const std::string& path, ByteRange range) {
      const std::uint64_t size = std::filesystem::file_size(path);
      {
        const std::lock_guard lock(mutex_);
        read_.emplace_back(path, range);
      }
      if (during) during();
      return ReadCost{.bytes = std::min(range.end, size) - range.begin, .file_size = size, .waited = is_cold(path)};
    };
  }
  std::vector<std::string> paths() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> found;
    for (const auto& [path, range] : read_) found.push_back(path);
    return found;
  }
  std::set<std::string> set() {
    const std::vector<std::string> all = paths();
    return {all.begin(), all.end()};
  }
  std::vector<ByteRange> ranges(const std::string& path) {
    const std::lock_guard lock(mutex_);
    std::vector<ByteRange> found;
    for (const auto& [each, range] : read_) {
      if (each == path) found.push_back(range);
    }
    std::ranges::sort(found, {}, &ByteRange::begin);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  std::function<bool(const std::string&)> is_cold = [](const std::string&) { return true; };
  std::function<void()> during;

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, ByteRange>> read_;
};

class FolderReaderTest : public ::testing::Test {
 protected:
  void run(std::vector<FolderToRead> folders, std::uint64_t budget = kUnlimited) {
    FolderReader reader(std::move(folders), budget, recorder_.reads(), [this] { return waits_of_listing_(); });
    reader.join();
    bytes_ = reader.bytes();
    files_ = reader.files();
  }
  std::string write(const std::string& name, const std::string& content = "bytes") {
    return directory_.write(name, content).string();
  }
  // Folders with a few files each.
  std::vector<FolderToRead> folders(std::size_t count, int files_of_each) {
    std::vector<FolderToRead> made;
    for (std::size_t folder = 0; folder < count; ++folder) {
      const std::string name = "folder" + std::to_string(folder);
      for (int file = 0; file < files_of_each; ++file) write(name + "/" + std::to_string(file));
      made.push_back({.folder = path(name), .suffix = ""});
    }
    return made;
  }
  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  const TemporaryDirectory directory_;
  Recorder recorder_;
  std::function<long()> waits_of_listing_ = [] { return 0; };  // a thread waits for others of this machine, too
  std::uint64_t bytes_ = 0;
  std::uint64_t files_ = 0;
};

TEST_F(FolderReaderTest, TheFilesOfAFolderWithAnEndingAreRead) {
  const std::set<std::string> wanted{write("a/one.pyc"), write("a/two.pyc")};
  write("a/three.py");
  write("a/below/four.pyc");
  run({{.folder = path("a"), .suffix = ".pyc"}});
  EXPECT_EQ(recorder_.set(), wanted);
}

TEST_F(FolderReaderTest, TheFilesOfSubfoldersWithAnEndingAreRead) {
  const std::set<std::string> wanted{write("a/x.info/METADATA"), write("a/y.info/METADATA")};
  write("a/x.info/deeper/METADATA");
  write("a/z/METADATA");
  write("a/METADATA");
  run({{.folder = path("a"), .suffix = "DATA", .below = ".info"}});
  EXPECT_EQ(recorder_.set(), wanted);
}

TEST_F(FolderReaderTest, WhereNoSampleHadToBeWaitedForNothingElseIsRead) {
  recorder_.is_cold = [](const std::string&) { return false; };
  run(folders(40, 5));
  EXPECT_LE(recorder_.paths().size(), FolderReader::kSamples);
  EXPECT_FALSE(recorder_.paths().empty());
}

TEST_F(FolderReaderTest, SamplesAreSpreadOverAllFolders) {
  const std::vector<FolderToRead> all = folders(3 * FolderReader::kSamples, 1);  // of which each third is a sample
  recorder_.is_cold = [this](const std::string& file) { return file.starts_with(path("folder31/")); };
  run(all);
  EXPECT_EQ(recorder_.set().size(), FolderReader::kSamples);
  recorder_.is_cold = [this](const std::string& file) { return file.starts_with(path("folder33/")); };
  run(all);
  EXPECT_EQ(recorder_.set().size(), all.size());
}

TEST_F(FolderReaderTest, AFolderWhoseFirstFilesAreThereIsTakenToBeThere) {
  std::vector<FolderToRead> both = folders(2, 20);
  recorder_.is_cold = [this](const std::string& file) { return file.starts_with(path("folder0/")); };
  run(both);
  const std::set<std::string> read = recorder_.set();
  EXPECT_EQ(std::ranges::count_if(read, [this](auto& each) { return each.starts_with(path("folder0/")); }), 20);
  EXPECT_LE(std::ranges::count_if(read, [this](auto& each) { return each.starts_with(path("folder1/")); }),
            static_cast<std::ptrdiff_t>(FolderReader::kTries));
}

TEST_F(FolderReaderTest, AFolderThatHadToBeWaitedForToBeListedIsRead) {
  recorder_.is_cold = [](const std::string&) { return false; };
  std::atomic<long> waits = 0;
  waits_of_listing_ = [&waits] { return ++waits; };
  run(folders(2, 20));
  EXPECT_EQ(recorder_.set().size(), 40U);
}

TEST_F(FolderReaderTest, ALargeFileIsReadInPartsUpToItsEnd) {
  const std::string file = write("a/large", std::string(3 * kPart + 5, 'x'));
  run({{.folder = path("a"), .suffix = ""}});
  const std::vector<ByteRange> expected{
      {0, kPart}, {kPart, 2 * kPart}, {2 * kPart, 3 * kPart}, {3 * kPart, 3 * kPart + 5}};
  EXPECT_EQ(recorder_.ranges(file), expected);
}

TEST_F(FolderReaderTest, OfALargeFileNoMoreIsReadThanIsAskedFor) {
  const std::string file = write("a/large", std::string(3 * kPart, 'x'));
  run({{.folder = path("a"), .suffix = "", .most_of_file = kPart + 7}});
  EXPECT_EQ(recorder_.ranges(file), (std::vector<ByteRange>{{0, kPart}, {kPart, kPart + 7}}));
}

TEST_F(FolderReaderTest, ItEndsWhereItsBudgetEnds) {
  std::vector<FolderToRead> many = folders(200, 5);
  run(std::move(many), 50);  // of files of five bytes
  EXPECT_GE(bytes_, 50U);
  EXPECT_LE(bytes_, 50U + 5U * FolderReader::kThreads);
}

TEST_F(FolderReaderTest, WhatIsMissingOrUnreadableIsPassedOver) {
  const std::string good = write("b/good");
  std::filesystem::create_symlink(path("nowhere"), directory_ / "b/broken");
  ASSERT_EQ(::mkfifo(path("b/fifo").c_str(), 0600), 0);
  FolderReader reader({{.folder = path("missing"), .suffix = ""},
                       {.folder = good, .suffix = ""},
                       {.folder = path("missing"), .suffix = "", .below = ""},
                       {.folder = path("b"), .suffix = ""}},
                      kUnlimited);
  reader.join();
  EXPECT_LE(reader.files(), 2U);  // the good one, as a sample and again
}

TEST_F(FolderReaderTest, NothingToReadEndsAtOnce) {
  run({});
  EXPECT_EQ(files_, 0U);
}

TEST_F(FolderReaderTest, ItIsStoppedInTheMidstOfAFolder) {
  std::mutex mutex;
  std::condition_variable changed;
  unsigned reads = 0;
  bool may_go_on = false;
  recorder_.during = [&] {
    std::unique_lock lock(mutex);
    if (++reads < 3) return;  // a sample, and what tells that the folder is not there
    changed.notify_all();
    changed.wait(lock, [&] { return may_go_on; });
  };
  FolderReader reader(folders(1, 200), kUnlimited, recorder_.reads());
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reads >= 3; });
    EXPECT_FALSE(reader.done());
    reader.stop();
    may_go_on = true;
  }
  changed.notify_all();
  reader.join();
  EXPECT_TRUE(reader.done());
  EXPECT_LE(recorder_.paths().size(), 2 + FolderReader::kThreads);
}

TEST_F(FolderReaderTest, WhatIsReadAwayIsInThePageCacheAfterwardsAndHadToBeWaitedForOnce) {
  const TemporaryDirectory on_disk(std::filesystem::current_path());
  const std::string file = on_disk.write("file", std::string(std::size_t{3} << 20, 'x')).string();
  ASSERT_TRUE(testing::evict(file)) << "the working directory is not on a disk";
  const ReadCost first = read_away(file, {0, kUnlimited});
  EXPECT_EQ(first.bytes, std::uint64_t{3} << 20);
  EXPECT_EQ(first.file_size, first.bytes);
  EXPECT_TRUE(first.waited);
  // A thread may wait for a processor, too, but not each time.
  int waited = 0;
  for (int again = 0; again < 20; ++again) waited += read_away(file, {0, 4096}).waited ? 1 : 0;
  EXPECT_LT(waited, 20);
}

TEST_F(FolderReaderTest, APartOfAFileIsReadAway) {
  const std::string file = write("file", std::string(1000, 'x'));
  EXPECT_EQ(read_away(file, {100, 300}).bytes, 200U);
  EXPECT_EQ(read_away(file, {900, 2000}).bytes, 100U);
  EXPECT_EQ(read_away(file, {2000, 3000}).bytes, 0U);
  EXPECT_EQ(read_away(path("missing"), {0, 10}).bytes, 0U);
}

}  // namespace
}  // namespace warpload
