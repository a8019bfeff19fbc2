#include "io/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "warpload/error.hpp"

namespace warpload {
namespace {

// Linux transfers at most 2 GiB - 4 KiB a call; a round number below that keeps every chunk page-aligned.
constexpr std::size_t kMaxReadBytes = std::size_t{1} << 30;

constexpr const char* kShrankCure = "do not write to a checkpoint while it is being loaded; load it again";

const char* kind_of(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    default:
      return "something else";
  }
}

[[noreturn]] void refuse_kind(const std::string& path, mode_t mode, int system_error) {
  throw IoError({.reason = std::string("the path is ") + kind_of(mode) + ", not a regular file",
                 .path = path,
                 .system_error = system_error,
                 .cure = S_ISDIR(mode) ? "name the file inside the directory" : "copy the data to a file"});
}

[[noreturn]] void refuse_call(const char* action, const std::filesystem::path& path, int system_error) {
  throw IoError(
      {.reason = std::string("the file cannot be ") + action, .path = path.string(), .system_error = system_error});
}

// Explains why open() failed. The kind of the path is looked up again, only to word the message.
[[noreturn]] void refuse_unopened(const std::filesystem::path& path, int system_error) {
  std::error_code ignored;
  if (system_error == ENOENT && std::filesystem::is_symlink(path, ignored)) {
    const std::string target = std::filesystem::read_symlink(path, ignored).string();
    throw IoError({.reason = "the path is a broken symbolic link: its target '" + target + "' is missing",
                   .path = path.string(),
                   .system_error = system_error,
                   .cure = "download the checkpoint again"});
  }
  struct stat status{};
  if (system_error == ENXIO && ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    refuse_kind(path.string(), status.st_mode, system_error);
  }
  throw IoError({.reason = "the file cannot be opened for reading",
                 .path = path.string(),
                 .system_error = system_error,
                 .cure = system_error == EACCES ? "check the permissions of the file and its folders" : ""});
}

UniqueFd open_descriptor(const std::filesystem::path& path) {
  if (path.native().find('\0') != std::string::npos) {
    throw IoError({.reason = "the path contains a NUL byte",
                   .path = path.string().substr(0, path.native().find('\0')),
                   .system_error = EINVAL});
  }
  int descriptor = -1;
  do {
    // O_NONBLOCK: opening a FIFO returns at once instead of waiting for a writer. O_NOCTTY: nor does a
    // terminal become ours.
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) refuse_unopened(path, errno);
  return UniqueFd(descriptor);
}

}  // namespace

File::File(UniqueFd fd, std::string path, std::uint64_t size, DirectCalls calls)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      size_(size),
      residency_(fd_.get(), size_),
      direct_(fd_.get(), size_, std::move(calls)) {}

std::shared_ptr<const File> File::open(const std::filesystem::path& path, DirectCalls calls) {
  UniqueFd fd = open_descriptor(path);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    refuse_call("examined", path, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    refuse_kind(path.string(), status.st_mode, S_ISDIR(status.st_mode) ? EISDIR : 0);
  }
  // pread() on a regular file ignores O_NONBLOCK, io_uring does not: it would answer EAGAIN for uncached
  // pages.
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    refuse_call("set to blocking reads", path, errno);
  }
  return std::shared_ptr<const File>(
      new File(std::move(fd), path.string(), static_cast<std::uint64_t>(status.st_size), std::move(calls)));
}

void File::read_exact(std::uint64_t offset, std::span<std::byte> destination) const {
  if (offset > size_ || destination.size() > size_ - offset) {
    throw IoError({.reason = "the read goes beyond the end of the file (" + std::to_string(size_) + " bytes)",
                   .path = path_,
                   .range = ByteRange{std::max(offset, size_), offset + destination.size()}});
  }
  std::size_t done = 0;
  while (done < destination.size()) {
    const std::size_t chunk = std::min(destination.size() - done, kMaxReadBytes);
    const ssize_t count = ::pread(fd_.get(), destination.data() + done, chunk, static_cast<off_t>(offset + done));
    if (count > 0) {
      done += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    const int system_error = count < 0 ? errno : 0;
    throw IoError({.reason = count < 0 ? "the file cannot be read" : "the file shrank while it was being read",
                   .path = path_,
                   .range = ByteRange{offset + done, offset + destination.size()},
                   .system_error = system_error,
                   .cure = count < 0 ? "check the disk or the network file system" : kShrankCure});
  }
}

}  // namespace warpload
