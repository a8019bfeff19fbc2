// Regular files, read by position.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "io/direct_file.hpp"
#include "io/open_files.hpp"
#include "io/residency.hpp"
#include "warpload/byte_source.hpp"

namespace warpload {

// A file stays the one that was opened. Its descriptor may be closed meanwhile, as OpenFiles decides, and is opened
// again by its path when it is needed. Where the path leads nowhere or to another file by then, the bytes come from a
// mapping that was made before the descriptor was closed.
//
// Threads: every member may be called from any thread.
class File final : public ByteSource {
 public:
  // Opens `path` for reading. Throws IoError (errno kept) when it is missing, unreadable, a directory or anything
  // but a regular file; a FIFO is refused at once, never waited for. `calls` are those of OpenFile::direct().
  [[nodiscard]] static std::shared_ptr<const File> open(
      const std::filesystem::path& path, DirectCalls calls = {},
      const std::shared_ptr<OpenFiles>& files = OpenFiles::of_process());
  ~File() override { files_->release(residency_); }

  [[nodiscard]] const std::string& path() const noexcept override { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override;

  // Reads as read_exact does, by a lease of this file, which spares asking for one. A null lease is one that lease()
  // returned.
  void read_exact(const OpenFiles::Lease& lease, std::uint64_t offset, std::span<std::byte> destination) const;

  // Its descriptor, open as long as the lease is held: hold one while many reads follow each other. Null where there is
  // none to be had any more, but a mapping; read_exact goes by that. Throws IoError where there is no mapping either.
  [[nodiscard]] OpenFiles::Lease lease() const;

  // What of this file is in the page cache. Valid as long as this object.
  [[nodiscard]] const Residency& residency() const;

 private:
  // What tells one file from another.
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    timespec modified = {};
  };

  File(const std::filesystem::path& path, const struct stat& status, DirectCalls calls,
       std::shared_ptr<OpenFiles> files);
  [[nodiscard]] OpenFiles::Lease open_again() const;
  void check_same(const struct stat& status) const;

  std::string path_;                     // as it was given
  std::filesystem::path absolute_path_;  // the process may change its directory
  std::uint64_t size_;
  Identity identity_;
  DirectCalls calls_;
  std::shared_ptr<OpenFiles> files_;
  Residency residency_;
};

}  // namespace warpload
