#include "io/mapped_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::pattern_bytes;
using testing::TemporaryDirectory;

std::string_view text_of(const MappedFile& mapped) {
  return {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()};
}

class MappedFileTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
};

TEST_F(MappedFileTest, TheWholeFileIsVisible) {
  const std::string content = pattern_bytes(10'000);
  const auto mapped = MappedFile::map(*File::open(directory_.write("data", content)));
  EXPECT_EQ(text_of(*mapped), content);
}

TEST_F(MappedFileTest, WritesStayPrivate) {
  const auto file = File::open(directory_.write("data", "unchanged"));
  const auto first = MappedFile::map(*file);
  const auto second = MappedFile::map(*file);
  first->bytes()[0] = std::byte{'X'};
  EXPECT_EQ(text_of(*first), "Xnchanged");
  EXPECT_EQ(text_of(*second), "unchanged");
  std::string on_disk;
  std::ifstream(file->path()) >> on_disk;
  EXPECT_EQ(on_disk, "unchanged");
}

TEST_F(MappedFileTest, AnEmptyFileGivesAnEmptySpan) {
  EXPECT_TRUE(MappedFile::map(*File::open(directory_.write("empty", "")))->bytes().empty());
}

TEST_F(MappedFileTest, TheMappingOutlivesTheFile) {
  auto file = File::open(directory_.write("data", "still here"));
  const auto mapped = MappedFile::map(*file);
  std::filesystem::remove(file->path());
  file.reset();
  EXPECT_EQ(text_of(*mapped), "still here");
}

TEST_F(MappedFileTest, AFileThatShrankIsRefusedAndTheMissingBytesAreNamed) {
  const auto file = File::open(directory_.write("data", pattern_bytes(5000)));
  std::filesystem::resize_file(file->path(), 100);
  const auto error = catch_error<IoError>([&] { (void)MappedFile::map(*file); });
  EXPECT_EQ(error.path(), file->path());
  EXPECT_EQ(error.range(), (ByteRange{100, 5000}));
  EXPECT_NE(error.reason().find("from 5000 to 100 bytes"), std::string::npos);
  EXPECT_FALSE(error.cure().empty());
}

TEST_F(MappedFileTest, AFileThatGrewIsRefused) {
  const auto file = File::open(directory_.write("data", "abc"));
  std::filesystem::resize_file(file->path(), 10);
  const auto error = catch_error<IoError>([&] { (void)MappedFile::map(*file); });
  EXPECT_EQ(error.range(), (ByteRange{3, 10}));
}

TEST_F(MappedFileTest, TheDestructorUnmaps) {
  auto mapped = MappedFile::map(*File::open(directory_.write("data", pattern_bytes(5000))));
  void* const address = mapped->bytes().data();
  unsigned char resident[2] = {};
  ASSERT_EQ(::mincore(address, 5000, resident), 0);
  mapped.reset();
  EXPECT_EQ(::mincore(address, 5000, resident), -1);
  EXPECT_EQ(errno, ENOMEM);
}

TEST_F(MappedFileTest, AMappingThatIsNotGrantedKeepsErrno) {
  const auto file = File::open(directory_.write("data", pattern_bytes(100)));
  // The descriptor is swapped for one that was opened for writing only, of a file of the same size.
  const auto other = directory_.write("other", pattern_bytes(100));
  const int descriptor = ::open(other.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  ASSERT_GE(::dup2(descriptor, file->lease()->descriptor()), 0);
  ::close(descriptor);
  const auto error = catch_error<IoError>([&] { (void)MappedFile::map(*file); });
  EXPECT_EQ(error.system_error(), EACCES);
  EXPECT_EQ(error.range(), (ByteRange{0, 100}));
}

}  // namespace
}  // namespace warpload
