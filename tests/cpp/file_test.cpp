#include "io/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::pattern_bytes;
using testing::TemporaryDirectory;

class FileTest : public ::testing::Test {
 protected:
  static IoError open_error(const std::filesystem::path& path) {
    return catch_error<IoError>([&] { (void)File::open(path); });
  }

  static std::string read(const File& file, std::uint64_t offset, std::size_t size) {
    std::string text(size, '?');
    file.read_exact(offset, std::as_writable_bytes(std::span(text)));
    return text;
  }

  TemporaryDirectory directory_;
};

TEST_F(FileTest, BytesAreReadAtAnyOffset) {
  const std::string content = pattern_bytes(100'000);
  const auto path = directory_.write("data", content);
  const auto file = File::open(path);
  EXPECT_EQ(file->path(), path.string());
  EXPECT_EQ(file->size(), content.size());
  EXPECT_EQ(read(*file, 0, content.size()), content);
  EXPECT_EQ(read(*file, 99'999, 1), content.substr(99'999));
  EXPECT_EQ(read(*file, 4097, 8191), content.substr(4097, 8191));
}

TEST_F(FileTest, AnEmptyFileOpensAndReadsNothing) {
  const auto file = File::open(directory_.write("empty", ""));
  EXPECT_EQ(file->size(), 0U);
  EXPECT_NO_THROW(file->read_exact(0, {}));
}

TEST_F(FileTest, ReadingNothingAtTheEndIsAllowed) {
  const auto file = File::open(directory_.write("data", "abc"));
  EXPECT_EQ(read(*file, 3, 0), "");
}

TEST_F(FileTest, AReadBeyondTheEndNamesTheMissingBytes) {
  const auto file = File::open(directory_.write("data", "abcdef"));
  const auto error = catch_error<IoError>([&] { read(*file, 4, 5); });
  EXPECT_EQ(error.path(), file->path());
  EXPECT_EQ(error.range(), (ByteRange{6, 9}));
  EXPECT_EQ(error.system_error(), 0);
  EXPECT_NE(error.reason().find("beyond the end"), std::string::npos);
}

TEST_F(FileTest, AnOffsetThatWouldOverflowIsRefused) {
  const auto file = File::open(directory_.write("data", "abcdef"));
  for (const std::uint64_t offset : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{7}}) {
    const auto error = catch_error<IoError>([&] { read(*file, offset, 2); });
    EXPECT_NE(error.reason().find("beyond the end"), std::string::npos) << offset;
  }
}

TEST_F(FileTest, AFileThatShrankIsNoticedAndTheMissingBytesAreNamed) {
  const auto path = directory_.write("data", pattern_bytes(1000));
  const auto file = File::open(path);
  std::filesystem::resize_file(path, 600);
  const auto error = catch_error<IoError>([&] { read(*file, 500, 300); });
  EXPECT_EQ(error.reason(), "the file shrank while it was being read");
  EXPECT_EQ(error.range(), (ByteRange{600, 800}));
  EXPECT_EQ(error.system_error(), 0);
  EXPECT_FALSE(error.cure().empty());
}

TEST_F(FileTest, AFailingReadKeepsErrno) {
  const auto file = File::open(directory_.write("data", pattern_bytes(100)));
  // The descriptor is swapped for one of a directory: pread() on that fails with EISDIR.
  const int folder = ::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(folder, 0);
  ASSERT_GE(::dup2(folder, file->lease()->descriptor()), 0);
  ::close(folder);
  const auto error = catch_error<IoError>([&] { read(*file, 10, 20); });
  EXPECT_EQ(error.system_error(), EISDIR);
  EXPECT_EQ(error.range(), (ByteRange{10, 30}));
}

TEST_F(FileTest, AFileReplacedByRenameIsStillReadAsOpened) {
  const auto path = directory_.write("data", "old content");
  const auto file = File::open(path);
  std::filesystem::rename(directory_.write("new", "new"), path);
  EXPECT_EQ(read(*file, 0, 11), "old content");
}

TEST_F(FileTest, ManyThreadsReadAtOnce) {
  const std::string content = pattern_bytes(1 << 20);
  const auto file = File::open(directory_.write("data", content));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t index = 0; index < wrong.size(); ++index) {
    threads.emplace_back([&, index] {
      for (std::size_t offset = index * 13; offset + 5000 <= content.size(); offset += 40'000) {
        if (read(*file, offset, 5000) != content.substr(offset, 5000)) ++wrong[index];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_F(FileTest, AMissingFileKeepsEnoent) {
  const auto error = open_error(directory_ / "nothing");
  EXPECT_EQ(error.system_error(), ENOENT);
  EXPECT_EQ(error.path(), (directory_ / "nothing").string());
  EXPECT_EQ(error.reason(), "the file cannot be opened for reading");
}

TEST_F(FileTest, AFolderOnTheWayThatIsAFileKeepsEnotdir) {
  directory_.write("data", "x");
  EXPECT_EQ(open_error(directory_ / "data/more").system_error(), ENOTDIR);
}

TEST_F(FileTest, ABrokenSymbolicLinkSaysSoAndNamesItsTarget) {
  std::filesystem::create_symlink("blobs/gone", directory_ / "link");
  const auto error = open_error(directory_ / "link");
  EXPECT_EQ(error.system_error(), ENOENT);
  EXPECT_NE(error.reason().find("broken symbolic link"), std::string::npos);
  EXPECT_NE(error.reason().find("'blobs/gone'"), std::string::npos);
  EXPECT_FALSE(error.cure().empty());
}

TEST_F(FileTest, ASymbolicLinkToAFileIsFollowed) {
  directory_.write("blob", "content");
  std::filesystem::create_symlink("blob", directory_ / "link");
  EXPECT_EQ(read(*File::open(directory_ / "link"), 0, 7), "content");
}

TEST_F(FileTest, ASymbolicLinkLoopKeepsEloop) {
  std::filesystem::create_symlink("loop", directory_ / "loop");
  EXPECT_EQ(open_error(directory_ / "loop").system_error(), ELOOP);
}

TEST_F(FileTest, ADirectoryIsRefusedWithEisdir) {
  const auto error = open_error(directory_.path());
  EXPECT_EQ(error.system_error(), EISDIR);
  EXPECT_EQ(error.reason(), "the path is a directory, not a regular file");
}

TEST_F(FileTest, AFifoIsRefusedAtOnce) {
  const auto path = directory_ / "fifo";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(open_error(path).reason(), "the path is a FIFO, not a regular file");
}

TEST_F(FileTest, ASocketIsRefusedAndNamed) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(socket, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = (directory_ / "socket").string();
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const auto error = open_error(path);
  ::close(socket);
  EXPECT_EQ(error.reason(), "the path is a socket, not a regular file");
}

TEST_F(FileTest, ADeviceIsRefused) {
  EXPECT_EQ(open_error("/dev/null").reason(), "the path is a character device, not a regular file");
}

TEST_F(FileTest, AnUnreadableFileKeepsEacces) {
  const auto path = directory_.write("secret", "x");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  // Root may read everything, so it becomes somebody else for a moment.
  const bool root = ::geteuid() == 0;
  constexpr uid_t kNobody = 65534;
  if (root) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  const auto error = open_error(path);
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_EQ(error.system_error(), EACCES);
  EXPECT_FALSE(error.cure().empty());
}

TEST_F(FileTest, AnEmptyPathIsRefused) { EXPECT_EQ(open_error("").system_error(), ENOENT); }

TEST_F(FileTest, APathWithANulByteNeverOpensItsFirstPart) {
  std::string path = directory_.write("data", "x").string();
  path += std::string("\0.safetensors", 13);
  EXPECT_EQ(open_error(path).system_error(), EINVAL);
}

TEST_F(FileTest, TheDescriptorBlocksAndIsNotInherited) {
  const auto file = File::open(directory_.write("data", "x"));
  EXPECT_EQ(::fcntl(file->lease()->descriptor(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(file->lease()->descriptor(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_NE(::fcntl(file->lease()->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(FileTest, TheDescriptorIsClosedWithTheLastOwner) {
  auto file = File::open(directory_.write("data", "x"));
  const int descriptor = file->lease()->descriptor();
  auto second = file;
  file.reset();
  EXPECT_GE(::fcntl(descriptor, F_GETFD), 0);
  second.reset();
  EXPECT_EQ(::fcntl(descriptor, F_GETFD), -1);
}

TEST_F(FileTest, RefusedPathsLeakNoDescriptor) {
  const int before = ::dup(0);
  ::close(before);
  for (int round = 0; round < 3; ++round) EXPECT_THROW((void)File::open(directory_.path()), IoError);
  const int after = ::dup(0);
  ::close(after);
  EXPECT_EQ(before, after);
}

// One pread() call never moves more than 2 GiB - 4 KiB. A sparse file takes no space on disk.
TEST_F(FileTest, AReadOfMoreThanTwoGibibytesIsComplete) {
  const std::uint64_t size = (std::uint64_t{2} << 30) + 5;
  const auto path = directory_.write("large", "");
  std::filesystem::resize_file(path, size);
  {
    std::ofstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(static_cast<std::streamoff>(size - 3));
    stream << "end";
  }
  std::vector<std::byte> bytes(size);
  File::open(path)->read_exact(0, bytes);
  EXPECT_EQ(std::memcmp(bytes.data() + size - 3, "end", 3), 0);
}

}  // namespace
}  // namespace warpload
