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

#include "io/memory_byte_source.hpp"
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

const char* cure_of(int system_error) noexcept {
  if (system_error == EACCES) return "check the permissions of the file and its folders";
  if (system_error == EMFILE) return "raise the limit on open files (ulimit -n), or close some";
  return "";
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
                 .cure = cure_of(system_error)});
}

UniqueFd open_descriptor(const std::filesystem::path& path, OpenFiles& files) {
  if (path.native().find('\0') != std::string::npos) {
    throw IoError({.reason = "the path contains a NUL byte",
                   .path = path.string().substr(0, path.native().find('\0')),
                   .system_error = EINVAL});
  }
  const int descriptor = files.open_by([&path] {
    int opened = -1;
    do {
      // O_NONBLOCK: opening a FIFO returns at once instead of waiting for a writer. O_NOCTTY: nor does a
      // terminal become ours.
      opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (opened < 0 && errno == EINTR);
    return opened;
  });
  if (descriptor < 0) refuse_unopened(path, errno);
  return UniqueFd(descriptor);
}

struct Opened {
  UniqueFd fd;
  struct stat status;
};

Opened open_regular(const std::filesystem::path& path, OpenFiles& files) {
  Opened opened{.fd = open_descriptor(path, files), .status = {}};
  if (::fstat(opened.fd.get(), &opened.status) != 0) {
    refuse_call("examined", path, errno);
  }
  const mode_t mode = opened.status.st_mode;
  if (!S_ISREG(mode)) {
    refuse_kind(path.string(), mode, S_ISDIR(mode) ? EISDIR : 0);
  }
  // pread() on a regular file ignores O_NONBLOCK, io_uring does not: it would answer EAGAIN
  // for uncached pages.
  const int flags = ::fcntl(opened.fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(opened.fd.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    refuse_call("set to blocking reads", path, errno);
  }
  return opened;
}

std::filesystem::path absolute_path(const std::filesystem::path& path) {
  std::error_code unknown;
  std::filesystem::path result = std::filesystem::absolute(path, unknown);
  return unknown ? path : result;
}

[[noreturn]] void refuse_beyond_end(const std::string& path, std::uint64_t size, ByteRange range) {
  throw IoError({.reason = "the read goes beyond the end of the file (" + std::to_string(size) + " bytes)",
                 .path = path,
                 .range = range});
}

// For the second descriptor of a file, too, room is made.
DirectCalls counted(DirectCalls calls, const std::shared_ptr<OpenFiles>& files) {
  if (!calls.open) calls.open = [](const char* path, int flags) { return ::open(path, flags); };
  // By a plain pointer: the files outlive what they hold, and would never go if they held themselves.
  calls.open = [open = std::move(calls.open), all = files.get()](const char* path, int flags) {
    return all->open_by([&] { return open(path, flags); });
  };
  return calls;
}

}  // namespace

File::File(const std::filesystem::path& path, const struct stat& status, DirectCalls calls,
           std::shared_ptr<OpenFiles> files)
    : path_(path.string()),
      absolute_path_(absolute_path(path)),
      size_(static_cast<std::uint64_t>(status.st_size)),
      identity_{.device = status.st_dev, .inode = status.st_ino, .modified = status.st_mtim},
      calls_(counted(std::move(calls), files)),
      files_(std::move(files)),
      residency_(size_) {}

std::shared_ptr<const File> File::open(const std::filesystem::path& path, DirectCalls calls,
                                       const std::shared_ptr<OpenFiles>& files) {
  Opened opened = open_regular(path, *files);
  const std::shared_ptr<const File> file(new File(path, opened.status, std::move(calls), files));
  static_cast<void>(
      files->keep(file->residency_, std::make_shared<OpenFile>(std::move(opened.fd), file->size_, file->calls_)));
  return file;
}

OpenFiles::Lease File::lease() const {
  if (auto open = files_->find(residency_)) return open;
  try {
    return open_again();
  } catch (const IoError&) {
    if (residency_.bytes().empty()) throw;
    return nullptr;
  }
}

OpenFiles::Lease File::open_again() const {
  Opened opened = open_regular(absolute_path_, *files_);
  check_same(opened.status);
  return files_->keep(residency_, std::make_shared<OpenFile>(std::move(opened.fd), size_, calls_));
}

// A mapping keeps the inode. Without one it may have been given to another file, which then has another size or, but
// for a copied one, another time. (Of a file that is still the same a change of these is found by whoever reads it.)
void File::check_same(const struct stat& status) const {
  const bool mapped = !residency_.bytes().empty();
  const bool same_node = status.st_dev == identity_.device && status.st_ino == identity_.inode;
  const bool same_state = static_cast<std::uint64_t>(status.st_size) == size_ &&
                          status.st_mtim.tv_sec == identity_.modified.tv_sec &&
                          status.st_mtim.tv_nsec == identity_.modified.tv_nsec;
  if (same_node && (mapped || same_state)) return;
  throw IoError({.reason = "the file was replaced or written to since it was opened",
                 .path = path_,
                 .cure = "do not write to a checkpoint while it is in use; open it again"});
}

const Residency& File::residency() const {
  if (!residency_.tried()) {
    if (const OpenFiles::Lease open = lease()) residency_.map(open->descriptor());
  }
  return residency_;
}

void File::read_exact(std::uint64_t offset, std::span<std::byte> destination) const {
  if (!destination.empty()) return read_exact(lease(), offset, destination);
  if (offset > size_) refuse_beyond_end(path_, size_, {offset, offset});
}

void File::read_exact(const OpenFiles::Lease& lease, std::uint64_t offset, std::span<std::byte> destination) const {
  if (offset > size_ || destination.size() > size_ - offset) {
    refuse_beyond_end(path_, size_, {std::max(offset, size_), offset + destination.size()});
  }
  if (!lease) return MemoryByteSource(residency_.bytes(), nullptr, path_).read_exact(offset, destination);
  std::size_t done = 0;
  while (done < destination.size()) {
    const std::size_t chunk = std::min(destination.size() - done, kMaxReadBytes);
    const ssize_t count =
        ::pread(lease->descriptor(), destination.data() + done, chunk, static_cast<off_t>(offset + done));
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
