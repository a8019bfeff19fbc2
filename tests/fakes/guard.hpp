// The fake's lock, kept from ThreadSanitizer.
//
// A stream's thread takes the lock after each copy and the host's threads take it in each call. Were that lock seen, it
// would order nearly everything, and a slot filled again too early would not be reported as the race it is. So what is
// done under the lock is overlooked altogether, and the edges that a real driver gives are stated one by one (Edge).
#pragma once

#include <condition_variable>
#include <mutex>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void AnnotateIgnoreSyncBegin(const char* file, int line);
void AnnotateIgnoreSyncEnd(const char* file, int line);
}
#endif

namespace warpload::testing::fake {

inline void hide_from_sanitizer() noexcept {
#ifdef __SANITIZE_THREAD__
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
#endif
}

inline void show_to_sanitizer() noexcept {
#ifdef __SANITIZE_THREAD__
  AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

// Holds the lock, and hides what its thread does, for as long as it lives.
class Guard {
 public:
  explicit Guard(std::mutex& mutex) : lock_((hide_from_sanitizer(), mutex)) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    lock_.unlock();
    show_to_sanitizer();
  }

  template <typename Predicate>
  void wait(std::condition_variable& changed, Predicate predicate) {
    changed.wait(lock_, predicate);
  }

  // Runs `action` without the lock and in the sanitizer's sight: the copies and kernels themselves.
  template <typename Action>
  void outside(Action action) {
    lock_.unlock();
    shown(action);
    lock_.lock();
  }

  // Runs `action` in the sanitizer's sight, with the lock still held.
  template <typename Action>
  void shown(Action action) {
    show_to_sanitizer();
    action();
    hide_from_sanitizer();
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

// Orders what was done before publish() ahead of what is done after a later observe(). Does nothing but tell the
// sanitizer.
class Edge {
 public:
  void publish([[maybe_unused]] Guard& guard) {
#ifdef __SANITIZE_THREAD__
    guard.shown([this] { __tsan_release(&address_); });
#endif
  }
  void observe([[maybe_unused]] Guard& guard) {
#ifdef __SANITIZE_THREAD__
    guard.shown([this] { __tsan_acquire(&address_); });
#endif
  }

 private:
  [[maybe_unused]] char address_ = 0;
};

}  // namespace warpload::testing::fake
