#include "load/read_timer.hpp"

#include <sys/resource.h>

#include <chrono>

namespace warpload {
namespace {

// Reads that take longer are told apart at once, so that whoever watches a slow disk need not wait for a whole batch.
constexpr std::chrono::milliseconds kLong{10};

constexpr std::uint64_t kBlock = 512;

}  // namespace

ReadTimer::Counts ReadTimer::counts() noexcept {
  rusage usage = {};
  ::getrusage(RUSAGE_THREAD, &usage);
  return {static_cast<std::uint64_t>(usage.ru_inblock), static_cast<std::uint64_t>(usage.ru_nvcsw)};
}

void ReadTimer::start_anew() noexcept {
  before_ = counts();
  pending_ = {};
  reads_ = bytes_ = 0;
}

void ReadTimer::begin(bool first) noexcept {
  static_cast<void>(lap_.end());
  if (first) start_anew();
}

void ReadTimer::fetched() noexcept {
  lap_.end(LoadClock::Part::kFromDisk);
  if (reads_ > 0) clock_.add(LoadClock::Part::kFromDisk, pending_);  // lies beside what had to be fetched
  start_anew();
}

void ReadTimer::read_plainly(std::uint64_t bytes) noexcept {
  pending_ += lap_.end();
  ++reads_;
  bytes_ += bytes;
  if (pending_ >= kLong) settle();
}

void ReadTimer::end_batch() noexcept {
  if (reads_ > 0) settle();
}

// Bytes count as fetched where half of them came from a disk, or where every other read slept: a network's file system
// counts no blocks.
void ReadTimer::settle() noexcept {
  const Counts now = counts();
  const bool was_fetched =
      (now.blocks - before_.blocks) * kBlock * 2 >= bytes_ || (now.sleeps - before_.sleeps) * 2 >= reads_;
  clock_.add(was_fetched ? LoadClock::Part::kFromDisk : LoadClock::Part::kFromMemory, pending_);
  before_ = now;
  pending_ = {};
  reads_ = bytes_ = 0;
}

}  // namespace warpload
