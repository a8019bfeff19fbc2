#include "io/open_files.hpp"

#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace warpload {
namespace {

// A file may take two descriptors.
constexpr std::size_t kMostFiles = 64;

// The limit may be changed at any time.
std::size_t most_of_process() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kMostFiles;
  return std::clamp<std::size_t>(static_cast<std::size_t>(limit.rlim_cur / 8), 1, kMostFiles);
}

}  // namespace

const std::shared_ptr<OpenFiles>& OpenFiles::of_process() {
  // Never destroyed: threads that outlive main() may still close files. The lock is taken around fork(), as another
  // thread may hold it, which the child does not have.
  static const auto& instance = *[] {
    static_cast<void>(::pthread_atfork(&OpenFiles::lock_for_fork, &unlock_after_fork, &unlock_after_fork));
    return new std::shared_ptr<OpenFiles>(std::make_shared<OpenFiles>(most_of_process));
  }();
  return instance;
}

void OpenFiles::lock_for_fork() { of_process()->mutex_.lock(); }
void OpenFiles::unlock_after_fork() { of_process()->mutex_.unlock(); }

OpenFiles::Lease OpenFiles::find(const Residency& file) {
  const std::lock_guard lock(mutex_);
  const auto found = by_file_.find(&file);
  if (found == by_file_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->open;
}

OpenFiles::Lease OpenFiles::keep(const Residency& file, Lease fresh) {
  const std::size_t most = most_();
  std::vector<Lease> closed;  // goes without the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = by_file_.find(&file); found != by_file_.end()) return found->second->open;
  entries_.push_front({&file, fresh});
  try {
    by_file_.emplace(&file, entries_.begin());
  } catch (...) {
    entries_.pop_front();
    throw;
  }
  take_idle(most, closed);
  return fresh;
}

void OpenFiles::release(const Residency& file) noexcept {
  Lease closed;  // goes without the lock
  const std::lock_guard lock(mutex_);
  const auto found = by_file_.find(&file);
  if (found == by_file_.end()) return;
  closed = std::move(found->second->open);
  entries_.erase(found->second);
  by_file_.erase(found);
}

int OpenFiles::open_by(const std::function<int()>& open) {
  while (true) {
    const int descriptor = open();
    if (descriptor >= 0 || (errno != EMFILE && errno != ENFILE)) return descriptor;
    const int system_error = errno;
    if (close_idle()) continue;
    errno = system_error;
    return descriptor;
  }
}

// False when there was none.
bool OpenFiles::close_idle() {
  std::vector<Lease> closed;  // goes without the lock
  const std::lock_guard lock(mutex_);
  take_idle(0, closed);
  return !closed.empty();
}

// Takes out what nobody uses, from the one that was used least lately on, until so many are left. Leases are handed out
// under the lock only: what has none has none until it is released.
void OpenFiles::take_idle(std::size_t most_left, std::vector<Lease>& taken) {
  for (auto entry = entries_.end(); entry != entries_.begin() && entries_.size() > most_left;) {
    --entry;
    if (entry->open.use_count() != 1) continue;
    entry->file->map(entry->open->descriptor());
    taken.push_back(std::move(entry->open));
    by_file_.erase(entry->file);
    entry = entries_.erase(entry);
  }
}

}  // namespace warpload
