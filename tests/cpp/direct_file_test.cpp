#include "io/direct_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"

namespace warpload {
namespace {

using testing::pattern_bytes;
using testing::TemporaryDirectory;

// In the directory that the test runs in: the build's, which is on a disk. The calls that it is given open without
// O_DIRECT, so that file systems that refuse it do for the tests of what is made of the answers.
class DirectFileTest : public ::testing::Test {
 protected:
  static int open_plainly(const char* path, int flags) { return ::open(path, flags & ~O_DIRECT); }

  // The bytes that one read of `size` gives.
  static std::string read(const DirectFile& direct, std::uint64_t offset, std::size_t size) {
    const std::unique_ptr<std::byte, decltype(&std::free)> buffer(
        static_cast<std::byte*>(std::aligned_alloc(DirectFile::kMemoryAlignment, kBuffer)), &std::free);
    const std::size_t valid = direct.read(offset, {buffer.get(), size});
    return {reinterpret_cast<const char*>(buffer.get()), valid};
  }

  static constexpr std::size_t kBuffer = std::size_t{1} << 20;
  static constexpr std::size_t kBlock = DirectFile::kMemoryAlignment;  // a multiple of every block
  TemporaryDirectory directory_{std::filesystem::current_path()};
};

TEST_F(DirectFileTest, BlocksAreReadWhereTheFileSystemTakesDirectReads) {
  const std::string content = pattern_bytes(10 * kBlock + 5000);
  const auto file = File::open(directory_.write("data", content));
  const OpenFiles::Lease lease = file->lease();
  const DirectFile& direct = lease->direct();
  if (direct.possible()) {
    EXPECT_EQ(kBlock % direct.block(), 0U);
    EXPECT_EQ(read(direct, 0, 4 * kBlock), content.substr(0, 4 * kBlock));
    EXPECT_EQ(read(direct, 3 * kBlock, kBlock), content.substr(3 * kBlock, kBlock));
    EXPECT_TRUE(direct.possible());
  } else {
    EXPECT_EQ(read(direct, 0, kBlock), "");
  }
}

TEST_F(DirectFileTest, TheLastBlockIsAsLongAsTheFile) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{4095}, kBlock + 1, 2 * kBlock - 1, 2 * kBlock}) {
    const std::string content = pattern_bytes(size);
    const auto path = directory_.write("data" + std::to_string(size), content);
    const auto file = File::open(path, {.open = open_plainly});
    EXPECT_EQ(read(file->lease()->direct(), 0, 4 * kBlock), content);
    EXPECT_EQ(read(file->lease()->direct(), 4 * kBlock, kBlock), "");
    if (File::open(path)->lease()->direct().possible()) {
      EXPECT_EQ(read(File::open(path)->lease()->direct(), 0, 4 * kBlock), content);
    }
  }
}

TEST_F(DirectFileTest, NothingIsOpenedBeforeItIsNeededAndThenOnce) {
  std::atomic<int> opened = 0;
  const auto file =
      File::open(directory_.write("data", pattern_bytes(kBlock)), {.open = [&](const char* path, int flags) {
                   ++opened;
                   EXPECT_NE(flags & O_DIRECT, 0);
                   EXPECT_NE(flags & O_CLOEXEC, 0);
                   return open_plainly(path, flags);
                 }});
  EXPECT_EQ(opened, 0);
  std::vector<std::thread> threads;
  for (int index = 0; index < 4; ++index) {
    threads.emplace_back([&] { EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), pattern_bytes(kBlock)); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(opened, 1);
}

TEST_F(DirectFileTest, ARefusedOpenIsNotTriedAgain) {
  int opened = 0;
  const auto file = File::open(directory_.write("data", pattern_bytes(kBlock)), {.open = [&](const char*, int) {
                                 ++opened;
                                 errno = EINVAL;
                                 return -1;
                               }});
  EXPECT_FALSE(file->lease()->direct().possible());
  EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), "");
  EXPECT_FALSE(file->lease()->direct().possible());
  EXPECT_EQ(opened, 1);
}

TEST_F(DirectFileTest, ARefusedReadIsNotTriedAgain) {
  int reads = 0;
  const auto file = File::open(directory_.write("data", pattern_bytes(kBlock)),
                               {.open = open_plainly, .pread = [&](int, void*, std::size_t, off_t) -> ssize_t {
                                  ++reads;
                                  errno = EINVAL;
                                  return -1;
                                }});
  EXPECT_TRUE(file->lease()->direct().possible());
  EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), "");
  EXPECT_FALSE(file->lease()->direct().possible());
  EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), "");
  EXPECT_EQ(reads, 1);
}

TEST_F(DirectFileTest, AnErrorOfTheDiskEndsTheReadButRefusesNothing) {
  const auto file =
      File::open(directory_.write("data", pattern_bytes(4 * kBlock)),
                 {.open = open_plainly, .pread = [](int descriptor, void* memory, std::size_t, off_t offset) {
                    errno = EIO;
                    return offset == 0 ? ::pread(descriptor, memory, kBlock, offset) : ssize_t{-1};
                  }});
  EXPECT_EQ(read(file->lease()->direct(), 0, 4 * kBlock), pattern_bytes(4 * kBlock).substr(0, kBlock));
  EXPECT_TRUE(file->lease()->direct().possible());
}

TEST_F(DirectFileTest, InterruptedAndShortReadsGoOn) {
  int calls = 0;
  const std::string content = pattern_bytes(4 * kBlock + 77);
  const auto file = File::open(
      directory_.write("data", content),
      {.open = open_plainly, .pread = [&](int descriptor, void* memory, std::size_t size, off_t offset) -> ssize_t {
         if (calls++ % 2 == 0) {
           errno = EINTR;
           return -1;
         }
         return ::pread(descriptor, memory, std::min(size, kBlock), offset);
       }});
  EXPECT_EQ(read(file->lease()->direct(), 0, 8 * kBlock), content);
  EXPECT_EQ(calls, 10);
}

TEST_F(DirectFileTest, AFileThatShrankGivesWhatIsLeft) {
  const std::string content = pattern_bytes(4 * kBlock);
  const auto path = directory_.write("data", content);
  const auto injected = File::open(path, {.open = open_plainly});
  const auto real = File::open(path);
  std::filesystem::resize_file(path, kBlock + 100);
  EXPECT_EQ(read(injected->lease()->direct(), 0, 4 * kBlock), content.substr(0, kBlock + 100));
  if (real->lease()->direct().possible()) {
    EXPECT_EQ(read(real->lease()->direct(), 0, 4 * kBlock), content.substr(0, kBlock + 100));
  }
}

TEST_F(DirectFileTest, AFileThatGrewGivesWhatItHadWhenOpened) {
  const auto path = directory_.write("data", pattern_bytes(100));
  const auto file = File::open(path, {.open = open_plainly});
  std::filesystem::resize_file(path, 4 * kBlock);
  EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), pattern_bytes(100));
}

TEST_F(DirectFileTest, AFileReplacedByRenameIsReadAsOpened) {
  const auto path = directory_.write("data", "old content");
  const auto file = File::open(path, {.open = open_plainly});
  std::filesystem::rename(directory_.write("new", "new"), path);
  EXPECT_EQ(read(file->lease()->direct(), 0, kBlock), "old content");
}

}  // namespace
}  // namespace warpload
