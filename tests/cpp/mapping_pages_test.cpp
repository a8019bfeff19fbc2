#include "io/mapping_pages.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "cpp/support/page_cache.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"
#include "io/mapped_file.hpp"

namespace warpload {
namespace {

using testing::evict;
using testing::pattern_bytes;
using testing::TemporaryDirectory;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class MappingPagesTest : public ::testing::Test {
 protected:
  std::shared_ptr<const MappedFile> map(std::uint64_t bytes) {
    path_ = directory_.write("data", pattern_bytes(bytes));
    return MappedFile::map(*File::open(path_));
  }
  TemporaryDirectory directory_;
  std::filesystem::path path_;
  PageMap map_;
};

TEST_F(MappingPagesTest, PopulatedBytesAreBackedAndTheOthersAreNot) {
  const auto mapped = map(16 * kMiB);  // the kernel may map a few more than were asked for
  EXPECT_FALSE(mapped->pages()->is_backed({0, 16 * kMiB}, map_));
  EXPECT_TRUE(mapped->pages()->populate({kMiB + 5, 2 * kMiB + 5}));
  EXPECT_TRUE(mapped->pages()->is_backed({kMiB + 5, 2 * kMiB + 5}, map_));
  EXPECT_FALSE(mapped->pages()->is_backed({15 * kMiB, 16 * kMiB}, map_));
}

TEST_F(MappingPagesTest, BytesOfWhichOnlyOneEndIsBackedAreNot) {
  const auto mapped = map(16 * kMiB);
  ASSERT_TRUE(mapped->pages()->populate({7 * kMiB, 9 * kMiB}));
  EXPECT_FALSE(mapped->pages()->is_backed({8 * kMiB, 16 * kMiB}, map_));
  EXPECT_FALSE(mapped->pages()->is_backed({0, 8 * kMiB}, map_));
}

TEST_F(MappingPagesTest, PopulatedBytesAreTheFilesAndCanBeWrittenForOneself) {
  const auto mapped = map(2 * kMiB);
  ASSERT_TRUE(mapped->pages()->populate({0, 2 * kMiB}));
  EXPECT_EQ(std::memcmp(mapped->bytes().data(), pattern_bytes(2 * kMiB).data(), 2 * kMiB), 0);
  mapped->bytes()[7] = std::byte{'X'};
  std::string first(8, '\0');
  std::ifstream(path_, std::ios::binary).read(first.data(), 8);
  EXPECT_EQ(first, pattern_bytes(8));
}

TEST_F(MappingPagesTest, AFileThatBecameShorterIsNoSignal) {
  const auto mapped = map(2 * kMiB);
  std::filesystem::resize_file(path_, 10);
  EXPECT_FALSE(mapped->pages()->populate({kMiB, 2 * kMiB}));
}

TEST_F(MappingPagesTest, AMappingThatHasGoneIsNotTouched) {
  auto mapped = map(kMiB);
  const std::shared_ptr<MappingPages> pages = mapped->pages();
  std::byte* const address = mapped->bytes().data();
  mapped.reset();
  // What has the address next.
  void* const other =
      ::mmap(address, kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_EQ(other, address);
  EXPECT_FALSE(pages->populate({0, kMiB}));
  EXPECT_FALSE(map_.is_backed(address));
  *address = std::byte{1};
  EXPECT_FALSE(pages->is_backed({0, 1}, map_));
  ::munmap(other, kMiB);
}

TEST_F(MappingPagesTest, BytesBeyondTheMappingAreNone) {
  const auto mapped = map(kMiB);
  EXPECT_FALSE(mapped->pages()->populate({kMiB, 2 * kMiB}));
  EXPECT_TRUE(mapped->pages()->populate({0, 2 * kMiB}));
}

TEST_F(MappingPagesTest, WhatIsInThePageCacheIsResident) {
  const auto mapped = map(kMiB);
  EXPECT_TRUE(mapped->pages()->is_resident({0, kMiB}));
}

TEST_F(MappingPagesTest, WhatIsNotInThePageCacheAtEitherEndIsNotResidentUntilItIsPopulated) {
  const auto mapped = map(16 * kMiB);
  const bool evictable = evict(path_, 0, 4 * kMiB) && evict(path_, 12 * kMiB);
  EXPECT_TRUE(mapped->pages()->is_resident({5 * kMiB, 11 * kMiB}));
  EXPECT_NE(mapped->pages()->is_resident({0, 8 * kMiB}), evictable);
  EXPECT_NE(mapped->pages()->is_resident({8 * kMiB, 16 * kMiB}), evictable);
  ASSERT_TRUE(mapped->pages()->populate({0, 16 * kMiB}));
  EXPECT_TRUE(mapped->pages()->is_resident({0, 16 * kMiB}));
}

// Lets madvise be that of Linux 5.13 in this process, and notes when it is asked to read ahead.
volatile std::sig_atomic_t asked_to_read_ahead = 0;
bool become_old_kernel() {
  std::signal(SIGSYS, [](int) { asked_to_read_ahead = 1; });
  constexpr unsigned kPopulateRead = 22;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kPopulateRead, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_WILLNEED, 1, 2),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

TEST_F(MappingPagesTest, AKernelThatDoesNotKnowHowIsAskedToReadAhead) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto mapped = map(2 * kMiB);
    if (!become_old_kernel()) ::_exit(1);
    if (!mapped->pages()->populate({kMiB, 2 * kMiB})) ::_exit(2);  // there may be more to be had
    ::_exit(asked_to_read_ahead == 1 ? 0 : 3);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}

// The lock of the one that populates may be held at the fork, for good.
TEST_F(MappingPagesTest, AChildOfForkCanLetTheMappingGo) {
  auto mapped = map(64 * kMiB);
  std::atomic<bool> stop = false;
  std::thread populating([&, pages = mapped->pages()] {
    while (!stop) static_cast<void>(pages->populate({0, 64 * kMiB}));
  });
  for (int attempt = 0; attempt < 20; ++attempt) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);  // ends a child that hangs
      mapped.reset();
      ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  stop = true;
  populating.join();
}

}  // namespace
}  // namespace warpload
