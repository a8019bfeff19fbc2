#include "io/folder_reader.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/unique_fd.hpp"

namespace warpload {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = std::size_t{128} << 10;

std::uint64_t read_pieces(int descriptor, ByteRange range) {
  std::array<std::byte, kPieceBytes> piece;
  std::uint64_t offset = range.begin;
  while (offset < range.end) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(range.end - offset, piece.size()));
    const ssize_t count = ::pread(descriptor, piece.data(), wanted, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    offset += static_cast<std::uint64_t>(count);
  }
  return offset - range.begin;
}

}  // namespace

long waits_of_thread() noexcept {
  struct rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw + usage.ru_inblock : 0;
}

ReadCost read_away(const std::string& path, ByteRange range) {
  const long before = waits_of_thread();
  ReadCost cost;
  // O_NONBLOCK: nobody waits for the writer of a FIFO.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (file.get() >= 0 && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    cost.file_size = static_cast<std::uint64_t>(status.st_size);
    cost.bytes = read_pieces(file.get(), {range.begin, std::min(range.end, cost.file_size)});
  }
  cost.waited = waits_of_thread() != before;
  return cost;
}

FolderReader::FolderReader(std::vector<FolderToRead> folders, std::uint64_t budget, ReadAway read, CountWaits waits)
    : read_(std::move(read)),
      waits_(std::move(waits)),
      budget_(budget),
      folders_(std::make_move_iterator(folders.begin()), std::make_move_iterator(folders.end())) {
  try {
    lead_ = std::thread([this] { lead(); });
  } catch (const std::system_error&) {  // the system gives no thread
    done_ = true;
  }
}

FolderReader::~FolderReader() {
  stop();
  if (lead_.joinable()) lead_.join();
}

void FolderReader::stop() noexcept {
  stopping_ = true;
  changed_.notify_all();
}

void FolderReader::join() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_; });
}

bool FolderReader::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void FolderReader::lead() noexcept {
  std::vector<std::thread> others;
  try {
    if (is_sample_cold()) {
      while (others.size() + 1 < kThreads) others.emplace_back([this] { work(); });
    } else {
      stopping_ = true;
    }
  } catch (const std::exception&) {  // fewer threads, or no memory
  }
  work();
  for (std::thread& other : others) other.join();
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
}

// Tries some folders of all, from the first to the last.
bool FolderReader::is_sample_cold() {
  const std::size_t all = folders_.size();
  const std::size_t samples = std::min(all, kSamples);
  for (std::size_t index = 0; index < samples && !stopping_; ++index) {
    Listed listed = list(folders_[index * all / samples]);
    if (!listed.folders.empty() && !listed.waited) listed = list(FolderToRead(listed.folders.front()));
    if (listed.waited || (!listed.files.empty() && read(listed.files.front()))) return true;
  }
  return false;
}

void FolderReader::work() noexcept {
  try {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (!parts_.empty()) {
        take_part(lock);
      } else if (!folders_.empty()) {
        take_folder(lock);
      } else if (busy_ > 0) {
        changed_.wait(lock);
      } else {
        return;
      }
    }
  } catch (const std::exception&) {  // no memory
    stop();
  }
}

void FolderReader::take_part(std::unique_lock<std::mutex>& lock) {
  const Part part = std::move(parts_.front());
  parts_.pop_front();
  lock.unlock();
  static_cast<void>(read(part));
  lock.lock();
}

void FolderReader::take_folder(std::unique_lock<std::mutex>& lock) {
  const FolderToRead folder = std::move(folders_.front());
  folders_.pop_front();
  ++busy_;
  lock.unlock();
  Listed listed = list(folder);
  const bool cold = is_cold(listed);
  lock.lock();
  --busy_;
  if (cold) parts_.insert(parts_.end(), listed.files.begin(), listed.files.end());
  folders_.insert(folders_.begin(), listed.folders.begin(), listed.folders.end());
  changed_.notify_all();
}

// Tries files until one has to be waited for.
bool FolderReader::is_cold(Listed& listed) {
  bool cold = listed.waited;
  const std::size_t tries = std::min(listed.files.size(), kTries);
  std::size_t tried = 0;
  while (!cold && tried < tries && !stopping_) cold = read(listed.files[tried++]);
  listed.files.erase(listed.files.begin(), listed.files.begin() + static_cast<std::ptrdiff_t>(tried));
  return cold;
}

FolderReader::Listed FolderReader::list(const FolderToRead& folder) const {
  const long before = waits_();
  const std::string& ending = folder.below ? *folder.below : folder.suffix;
  Listed listed;
  std::error_code error;
  // In the order in which everybody else lists it.
  for (fs::directory_iterator each(folder.folder, error), end; !error && each != end; each.increment(error)) {
    std::error_code unknown;
    const std::string& path = each->path().native();
    if (!path.ends_with(ending) || each->is_directory(unknown) != folder.below.has_value()) continue;
    if (folder.below) {
      listed.folders.push_back({.folder = path, .suffix = folder.suffix, .most_of_file = folder.most_of_file});
    } else {
      const std::uint64_t first = std::min(folder.most_of_file, kPartBytes);
      listed.files.push_back({.path = path, .range = {0, first}, .most = folder.most_of_file});
    }
  }
  listed.waited = waits_() != before;
  return listed;
}

// True when it had to be waited for. Of a large file the other parts come next.
bool FolderReader::read(const Part& part) {
  const ReadCost cost = read_(part.path, part.range);
  if (cost.bytes == 0) return cost.waited;
  if (part.range.begin == 0) ++files_;
  if ((bytes_ += cost.bytes) >= budget_) stop();
  const std::uint64_t end = std::min(part.most, cost.file_size);
  if (part.range.begin == 0 && part.range.end < end) {
    const std::lock_guard lock(mutex_);
    std::vector<Part> others;
    for (std::uint64_t begin = part.range.end; begin < end; begin += kPartBytes) {
      others.push_back({.path = part.path, .range = {begin, std::min(begin + kPartBytes, end)}, .most = part.most});
    }
    parts_.insert(parts_.begin(), others.begin(), others.end());
    changed_.notify_all();
  }
  return cost.waited;
}

}  // namespace warpload
