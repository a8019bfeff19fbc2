// Files with fewer descriptors than there are files: which stay open, and what of the others can still be read.
#include "io/open_files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/counting_reader.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "io/range_reader.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::CountingReader;
using testing::pattern_bytes;
using testing::TemporaryDirectory;
using Files = std::vector<std::shared_ptr<const File>>;

std::size_t descriptor_count() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

std::string read(const File& file) {
  std::string text(file.size(), '?');
  file.read_exact(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::size_t count_open(const Files& files, OpenFiles& opened) {
  return static_cast<std::size_t>(std::count_if(
      files.begin(), files.end(), [&](const auto& file) { return opened.find(file->residency()) != nullptr; }));
}

void read_first_byte(const File& file) {
  std::byte byte{};
  file.read_exact(0, {&byte, 1});
}

std::string read_by(DirectIo mode, const File& file) {
  return CountingReader(mode).read(file, {0, file.size()}, file.size());
}

// A limit of this process, lowered as long as a test needs it.
class LoweredLimit {
 public:
  LoweredLimit(__rlimit_resource_t resource, rlim_t soft) : resource_(resource) {
    EXPECT_EQ(::getrlimit(resource_, &before_), 0);
    rlimit lowered = before_;
    lowered.rlim_cur = soft;
    EXPECT_EQ(::setrlimit(resource_, &lowered), 0);
  }
  LoweredLimit(const LoweredLimit&) = delete;
  LoweredLimit& operator=(const LoweredLimit&) = delete;
  ~LoweredLimit() { ::setrlimit(resource_, &before_); }

 private:
  __rlimit_resource_t resource_;
  rlimit before_{};
};

std::uint64_t address_space() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class OpenFilesTest : public ::testing::Test {
 protected:
  static std::string content_of(std::size_t index) { return "content of file " + std::to_string(index); }

  [[nodiscard]] std::vector<std::filesystem::path> write_many(std::size_t count) const {
    std::vector<std::filesystem::path> paths;
    for (std::size_t index = 0; index < count; ++index) {
      paths.push_back(directory_.write("file" + std::to_string(index), content_of(index)));
    }
    return paths;
  }

  [[nodiscard]] Files open_many(std::size_t count, const std::shared_ptr<OpenFiles>& opened) const {
    Files files;
    for (const auto& path : write_many(count)) files.push_back(File::open(path, {}, opened));
    return files;
  }

  // Opens the file, and then another one, so that the first has no descriptor any more.
  [[nodiscard]] std::shared_ptr<const File> open_and_close(const std::filesystem::path& path) {
    auto file = File::open(path, {}, few_);
    other_ = File::open(directory_.write("other", "other"), {}, few_);
    EXPECT_EQ(few_->find(file->residency()), nullptr);
    return file;
  }

  // A file whose mapping was refused when its descriptor was closed; it is all zeros.
  [[nodiscard]] std::shared_ptr<const File> open_and_close_unmapped() {
    const auto path = directory_.write("vast", "");
    std::filesystem::resize_file(path, kVast);
    auto file = File::open(path, {}, few_);
    const LoweredLimit limit(RLIMIT_AS, address_space() + kVast / 2);
    other_ = File::open(directory_.write("other", "other"), {}, few_);
    return file;
  }

  static constexpr std::uint64_t kVast = std::uint64_t{1} << 40;

  TemporaryDirectory directory_{std::filesystem::current_path()};
  std::shared_ptr<OpenFiles> few_ = std::make_shared<OpenFiles>([] { return std::size_t{1}; });
  std::shared_ptr<const File> other_;
};

TEST_F(OpenFilesTest, NoMoreDescriptorsAreHeldThanTheLimitSays) {
  const auto opened = std::make_shared<OpenFiles>([] { return std::size_t{5}; });
  const std::size_t before = descriptor_count();

  const Files files = open_many(100, opened);
  EXPECT_EQ(count_open(files, *opened), 5U);
  EXPECT_EQ(descriptor_count() - before, 5U);

  for (std::size_t index = 0; index < files.size(); ++index) EXPECT_EQ(read(*files[index]), content_of(index));
  EXPECT_EQ(count_open(files, *opened), 5U);
  EXPECT_EQ(descriptor_count() - before, 5U);
}

TEST_F(OpenFilesTest, TheProcessHoldsAQuarterOfWhatItMayHaveAtTheMost) {
  const std::size_t before = descriptor_count();
  for (const rlim_t limit : {rlim_t{256}, rlim_t{64}}) {
    const LoweredLimit lowered(RLIMIT_NOFILE, limit);
    const Files files = open_many(2 * limit, OpenFiles::of_process());
    EXPECT_LE(descriptor_count() - before, limit / 4);
    for (const auto& file : files) {
      EXPECT_EQ(read_by(DirectIo::kAlways, *file), read(*file));
      ASSERT_LE(descriptor_count() - before, limit / 4 + 2);
    }
  }
  EXPECT_EQ(descriptor_count(), before);
}

TEST_F(OpenFilesTest, TheFileThatWasUsedLeastLatelyIsClosedFirst) {
  const auto opened = std::make_shared<OpenFiles>([] { return std::size_t{2}; });
  const Files files = open_many(2, opened);
  EXPECT_EQ(read(*files[0]), content_of(0));

  const auto third = File::open(directory_.write("third", "3"), {}, opened);

  EXPECT_NE(opened->find(files[0]->residency()), nullptr);
  EXPECT_EQ(opened->find(files[1]->residency()), nullptr);
  EXPECT_NE(opened->find(third->residency()), nullptr);
}

TEST_F(OpenFilesTest, ALeasedFileStaysOpen) {
  const auto file = File::open(directory_.write("leased", "leased"), {}, few_);
  auto lease = file->lease();
  const Files others = open_many(10, few_);

  EXPECT_EQ(file->lease(), lease);
  EXPECT_GE(::fcntl(lease->descriptor(), F_GETFD), 0);
  EXPECT_EQ(count_open(others, *few_), 1U);

  const int descriptor = lease->descriptor();
  lease.reset();
  EXPECT_EQ(read(*others[0]), content_of(0));  // has the idle ones closed
  EXPECT_EQ(few_->find(file->residency()), nullptr);
  EXPECT_EQ(count_open(others, *few_), 1U);
  EXPECT_NE(::fcntl(descriptor, F_GETFD), 0);
}

TEST_F(OpenFilesTest, AReaderHoldsTheFileThatItReadsFrom) {
  const auto file = File::open(directory_.write("data", pattern_bytes(1000)), {}, few_);
  CountingReader reader(DirectIo::kNever);
  static_cast<void>(reader.read(*file, {7, 8}, 8));
  const Files others = open_many(3, few_);

  EXPECT_NE(few_->find(file->residency()), nullptr);
}

TEST_F(OpenFilesTest, AFileThatGoesIsClosedAndReleased) {
  const std::size_t before = descriptor_count();
  {
    const Files files = open_many(3, few_);
    EXPECT_EQ(count_open(files, *few_), 1U);
  }
  EXPECT_EQ(descriptor_count(), before);
}

TEST_F(OpenFilesTest, AClosedFileIsFoundAgainWhateverTheDirectory) {
  const auto before = std::filesystem::current_path();
  static_cast<void>(directory_.write("relative", "relative"));
  std::filesystem::current_path(directory_.path());
  const auto file = File::open("relative", {}, few_);
  std::filesystem::current_path("/");
  const Files others = open_many(1, few_);

  EXPECT_NE(file->lease(), nullptr);
  EXPECT_EQ(read(*file), "relative");
  EXPECT_EQ(file->path(), "relative");
  std::filesystem::current_path(before);
}

TEST_F(OpenFilesTest, WhereTheProcessHasNoDescriptorLeftIdleOnesAreClosed) {
  const auto opened = std::make_shared<OpenFiles>([] { return std::size_t{1000}; });
  const auto paths = write_many(40);
  Files files;
  {
    const LoweredLimit lowered(RLIMIT_NOFILE, descriptor_count() + 8);
    for (const auto& path : paths) files.push_back(File::open(path, {}, opened));
    EXPECT_LT(count_open(files, *opened), 20U);
    for (std::size_t index = 0; index < files.size(); ++index) EXPECT_EQ(read(*files[index]), content_of(index));
  }
  for (std::size_t index = 0; index < files.size(); ++index) {
    EXPECT_EQ(read_by(DirectIo::kAlways, *files[index]), content_of(index));
  }
}

TEST_F(OpenFilesTest, WhereNoneCanBeClosedTheErrorNamesTheLimit) {
  const auto path = directory_.write("data", "data");
  // UBSan looks at a class through a pipe when it meets it first, which later there are no descriptors for.
  (void)catch_error<IoError>([&] { (void)File::open(path.string() + ".missing", {}, few_); });
  std::vector<UniqueFd> taken;
  const LoweredLimit lowered(RLIMIT_NOFILE, descriptor_count() + 3);
  while (true) {
    UniqueFd fd(::dup(0));
    if (!fd) break;
    taken.push_back(std::move(fd));
  }
  const auto error = catch_error<IoError>([&] { (void)File::open(path, {}, few_); });
  EXPECT_EQ(error.system_error(), EMFILE);
  EXPECT_EQ(error.path(), path.string());
  EXPECT_NE(error.cure().find("ulimit -n"), std::string::npos);
}

// ---- closed files whose path leads elsewhere by now -----------------------------------------------------------------

TEST_F(OpenFilesTest, AClosedFileThatIsGoneOrReplacedIsReadAsItWas) {
  const std::string content = pattern_bytes(300'000);
  for (const bool replaced : {false, true}) {
    const auto path = directory_.write("data", content);
    const auto file = open_and_close(path);
    if (replaced) {
      std::filesystem::rename(directory_.write("new", std::string(content.size(), 'n')), path);
    } else {
      std::filesystem::remove(path);
    }
    EXPECT_EQ(file->lease(), nullptr);
    EXPECT_TRUE(read(*file) == content);
    for (const DirectIo mode : {DirectIo::kAuto, DirectIo::kNever, DirectIo::kAlways}) {
      EXPECT_TRUE(read_by(mode, *file) == content);
    }
  }
}

TEST_F(OpenFilesTest, AClosedFileThatIsGoneCanStillBeMappedAndTheMappingWritten) {
  const auto path = directory_.write("data", "unchanged");
  const auto file = open_and_close(path);
  std::filesystem::remove(path);

  const auto first = MappedFile::map(*file);
  const auto second = MappedFile::map(*file);
  first->bytes()[0] = std::byte{'X'};

  const auto text = [](const MappedFile& mapped) {
    return std::string_view(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  };
  EXPECT_EQ(text(*first), "Xnchanged");
  EXPECT_EQ(text(*second), "unchanged");
  EXPECT_EQ(read(*file), "unchanged");
}

TEST_F(OpenFilesTest, AClosedFileThatShrankIsNoticedWhetherItIsGoneOrNot) {
  const auto path = directory_.write("data", pattern_bytes(100'000));
  const auto file = open_and_close(path);
  std::filesystem::resize_file(path, 10);
  EXPECT_NE(catch_error<IoError>([&] { read(*file); }).reason().find("shrank"), std::string::npos);
  EXPECT_NE(catch_error<IoError>([&] { (void)MappedFile::map(*file); }).reason().find("size changed"),
            std::string::npos);

  EXPECT_EQ(read(*other_), "other");  // which closes the first again
  std::filesystem::remove(path);
  const auto error = catch_error<IoError>([&] { read(*file); });
  EXPECT_EQ(error.path(), path.string());
  EXPECT_NE(error.reason().find("shorter"), std::string::npos);
}

TEST_F(OpenFilesTest, AClosedFileThatCouldNotBeMappedIsOpenedAgain) {
  const auto file = open_and_close_unmapped();
  ASSERT_TRUE(file->residency().bytes().empty());

  std::string text(5, '?');
  file->read_exact(kVast - 5, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, std::string(5, '\0'));
}

TEST_F(OpenFilesTest, OneThatIsGoneMeanwhileKeepsErrno) {
  const auto file = open_and_close_unmapped();
  std::filesystem::remove(file->path());
  const auto error = catch_error<IoError>([&] { read_first_byte(*file); });
  EXPECT_EQ(error.system_error(), ENOENT);
  EXPECT_EQ(error.path(), file->path());
}

TEST_F(OpenFilesTest, OneThatWasReplacedOrWrittenToMeanwhileIsRefused) {
  for (const bool replaced : {false, true}) {
    const auto file = open_and_close_unmapped();
    if (replaced) {
      const auto fresh = directory_.write("new", "");
      std::filesystem::resize_file(fresh, kVast);
      std::filesystem::last_write_time(fresh, std::filesystem::last_write_time(file->path()));
      std::filesystem::rename(fresh, file->path());
    } else {
      const auto later = std::filesystem::last_write_time(file->path()) + std::chrono::seconds(1);
      std::filesystem::last_write_time(file->path(), later);
    }
    const auto error = catch_error<IoError>([&] { read_first_byte(*file); });
    EXPECT_EQ(error.path(), file->path());
    EXPECT_NE(error.reason().find("replaced or written to"), std::string::npos);
    EXPECT_FALSE(error.cure().empty());
  }
}

// ---- threads and processes ------------------------------------------------------------------------------------------

TEST_F(OpenFilesTest, ManyThreadsReadMoreFilesThanMayBeOpen) {
  const auto opened = std::make_shared<OpenFiles>([] { return std::size_t{3}; });
  const Files files = open_many(40, opened);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      CountingReader reader(thread % 2 == 0 ? DirectIo::kAuto : DirectIo::kAlways);
      for (std::size_t step = 0; step < 400; ++step) {
        const std::size_t index = (step * (thread + 1)) % files.size();
        const File& file = *files[index];
        const std::string text = reader.read(file, {0, file.size()}, file.size());
        if (text != content_of(index) || read(file) != text) ++wrong;
        if (step % 50 == 0) static_cast<void>(File::open(file.path(), {}, opened));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(count_open(files, *opened), 3U + threads.size());
}

TEST_F(OpenFilesTest, AChildReadsItsParentsFilesThoughAnotherThreadOpensSome) {
  const auto file = File::open(directory_.write("data", "of the parent"));
  const auto path = directory_.write("busy", "busy");
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    while (!stop) read(*File::open(path));
  });
  int failed = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);  // only a hang reaches it
      ::_exit(read(*file) == "of the parent" && read(*File::open(path)) == "busy" ? 0 : 1);
    }
    int status = -1;
    if (::waitpid(child, &status, 0) != child || status != 0) ++failed;
  }
  stop = true;
  busy.join();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace warpload
