// The descriptors that files are read by: few at a time, however many files there are.
//
//    lease() -------------------> open ------+ too many, or none left in the process:
//      ^                            |        | the one used least lately is mapped, then closed
//      |                            v        v
//      +--- opened by its path --- closed, but mapped: its bytes stay, whatever becomes of its path
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "io/direct_file.hpp"
#include "io/residency.hpp"

namespace warpload {

// A file's descriptor and, once it was needed, the one that goes past the page cache. Closes both.
class OpenFile {
 public:
  OpenFile(UniqueFd fd, std::uint64_t size, DirectCalls calls)
      : fd_(std::move(fd)), direct_(fd_.get(), size, std::move(calls)) {}

  // Both valid as long as this object; direct() costs no system call before it is first used.
  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
  [[nodiscard]] const DirectFile& direct() const noexcept { return direct_; }

 private:
  UniqueFd fd_;
  DirectFile direct_;
};

// Files that are open now. What is leased stays open; of the others, those that were used last, up to a limit. Before a
// file is closed it is mapped, if it can be: that keeps its bytes, and its inode from being given to another file.
//
// Ownership: shared by the files, which take themselves out when they go. Threads: any. The process's own is usable in
// a child after fork, too.
class OpenFiles {
 public:
  using Lease = std::shared_ptr<const OpenFile>;

  // `most` says how many files may stay open; it is asked whenever one is added.
  explicit OpenFiles(std::function<std::size_t()> most) : most_(std::move(most)) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  // The one that all checkpoints of a process share. It leaves three quarters of the descriptors that the process may
  // have (RLIMIT_NOFILE) to others, and takes no more than 128.
  [[nodiscard]] static const std::shared_ptr<OpenFiles>& of_process();

  // A file is known by its mapping. Null where it is closed.
  [[nodiscard]] Lease find(const Residency& file);

  // Adds a file that was just opened. Returns what is to be used: another thread's, where that was faster.
  [[nodiscard]] Lease keep(const Residency& file, Lease fresh);

  // Closes the file, unless it is leased, and keeps no note of it.
  void release(const Residency& file) noexcept;

  // Calls `open`, which returns a descriptor or -1, again as long as the process has none left and some can be closed.
  [[nodiscard]] int open_by(const std::function<int()>& open);

 private:
  struct Entry {
    const Residency* file;
    Lease open;
  };

  [[nodiscard]] bool close_idle();
  void take_idle(std::size_t most_left, std::vector<Lease>& taken);
  static void lock_for_fork();
  static void unlock_after_fork();

  std::function<std::size_t()> most_;
  mutable std::mutex mutex_;  // never held while a file is opened or closed
  std::list<Entry> entries_;  // used last first
  std::unordered_map<const Residency*, std::list<Entry>::iterator> by_file_;
};

}  // namespace warpload
