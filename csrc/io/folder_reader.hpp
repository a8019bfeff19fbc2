// Files brought into the page cache before somebody reads them one by one.
//
//   their reader    open, wait, read | open, wait, read | ...        a disk that serves one request at a time
//   this one        many threads, in the same order, some way ahead  a disk that serves many
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "warpload/error.hpp"

namespace warpload {

// Which files: those of `folder` whose names end with `suffix`.
struct FolderToRead {
  std::string folder;
  std::string suffix;                              // empty is any
  std::optional<std::string> below = {};           // those of its subfolders whose names end so, in place of its own
  std::uint64_t most_of_file = ~std::uint64_t{0};  // bytes from the begin of each
};

// What reading a part of a file has shown.
struct ReadCost {
  std::uint64_t bytes = 0;
  std::uint64_t file_size = 0;
  bool waited = false;  // it was not there: the thread had to wait, or had a disk asked
};

// Reads a part of a file, but not for what is in it. What cannot be read costs nothing.
using ReadAway = std::function<ReadCost(const std::string& path, ByteRange range)>;

// How often the calling thread has waited or had a disk asked: grows where something was not in memory, whoever owns
// it.
using CountWaits = std::function<long()>;
[[nodiscard]] long waits_of_thread() noexcept;

// By pread: unlike what posix_fadvise asks for, the bytes are all there afterwards, and no more than a piece a thread
// is under way, so that whoever needs the disk meanwhile has it, too.
[[nodiscard]] ReadCost read_away(const std::string& path, ByteRange range);

// Whether anything has to be read is found out by trying: one thread reads a file of each of some folders. If none of
// them had to be waited for, that is all. Else many threads read the folders, in their order; a folder of which the
// first few files are there is taken to be there. (mincore would say it of all files, but says nothing of those that
// the process neither owns nor may write, such as what root has installed.)
//
// A service: nothing waits for it, and nobody hears of an error. What is missing, unreadable or no regular file is
// passed over.
//
// Threads: every member may be called from any. The destructor waits for the pieces under way. In a child after fork it
// is not to be used; see process_owned.hpp.
class FolderReader {
 public:
  static constexpr unsigned kThreads = 8;
  static constexpr std::size_t kSamples = 12;  // folders that are tried before anything else is done
  static constexpr std::size_t kTries = 4;     // files of a folder
  static constexpr std::uint64_t kPartBytes = std::uint64_t{1} << 20;  // of a large file, for one thread

  // Begins. No more than `budget` bytes are read. `waits` tells whether a folder had to be waited for to be listed.
  FolderReader(std::vector<FolderToRead> folders, std::uint64_t budget, ReadAway read = read_away,
               CountWaits waits = waits_of_thread);
  FolderReader(const FolderReader&) = delete;
  FolderReader& operator=(const FolderReader&) = delete;
  ~FolderReader();

  // Ends it early; returns at once.
  void stop() noexcept;
  // Waits for its end.
  void join();

  [[nodiscard]] bool done() const;
  // What it has read, what was in the page cache already included.
  [[nodiscard]] std::uint64_t files() const noexcept { return files_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  struct Part {
    std::string path;
    ByteRange range;
    std::uint64_t most;  // see FolderToRead::most_of_file
  };
  // What there is to read in a folder: files, or subfolders.
  struct Listed {
    std::vector<Part> files;
    std::vector<FolderToRead> folders;
    bool waited = false;
  };

  [[nodiscard]] Listed list(const FolderToRead& folder) const;
  void lead() noexcept;
  [[nodiscard]] bool is_sample_cold();
  void work() noexcept;
  void take_part(std::unique_lock<std::mutex>& lock);
  void take_folder(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool is_cold(Listed& listed);
  [[nodiscard]] bool read(const Part& part);

  const ReadAway read_;
  const CountWaits waits_;
  std::atomic<std::uint64_t> files_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  const std::uint64_t budget_;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FolderToRead> folders_;
  std::deque<Part> parts_;  // of folders that are listed
  unsigned busy_ = 0;       // threads that may find more
  bool done_ = false;
  std::thread lead_;
};

}  // namespace warpload
