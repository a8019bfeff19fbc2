#include "load/view_populator.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

ViewPopulator::Calls real_calls() {
  return {.populate = [](MappingPages& pages, ByteRange range) { return pages.populate(range); },
          .is_resident = [](const MappingPages& pages, ByteRange range) { return pages.is_resident(range); },
          .is_backed = [](const MappingPages& pages, ByteRange range,
                          const PageMap& map) { return pages.is_backed(range, map); }};
}

}  // namespace

struct ViewPopulator::Job {
  std::vector<ViewPages> views;
  std::uint64_t budget = 0;
  PageMap map = {};
  bool paced = true;  // under the populator's lock
};

std::uint64_t populate_budget(Populate wanted, std::uint64_t available) noexcept {
  switch (wanted) {
    case Populate::kNever:
      return 0;
    case Populate::kAuto:
      return available / 2;
    case Populate::kAlways:
      break;
  }
  return ~std::uint64_t{0};
}

ViewPopulator::ViewPopulator() : ViewPopulator(real_calls()) {}

ViewPopulator::ViewPopulator(Calls calls) : calls_(std::move(calls)) {}

ViewPopulator::~ViewPopulator() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

ViewPopulator::Ticket ViewPopulator::add(std::vector<ViewPages> views, std::uint64_t budget) noexcept {
  Ticket ticket;
  try {
    ticket = std::make_shared<Job>(Job{.views = std::move(views), .budget = budget});
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
    jobs_.push_back(ticket);
  } catch (const std::exception&) {  // no memory, no thread: who uses the pages faults them in
    return nullptr;
  }
  changed_.notify_all();
  return ticket;
}

void ViewPopulator::hurry(const Ticket& ticket) noexcept {
  if (!ticket) return;
  {
    const std::lock_guard lock(mutex_);
    ticket->paced = false;
  }
  changed_.notify_all();
}

void ViewPopulator::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && !busy_; });
}

void ViewPopulator::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    Ticket job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    run(*job);
    job.reset();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void ViewPopulator::run(Job& job) {
  std::vector<std::pair<MappingPages*, std::vector<ByteRange>>> left;
  for (const ViewPages& view : job.views) {
    std::vector<ByteRange> postponed;
    for (const ByteRange range : view.ranges) run(job, *view.pages, range, &postponed);
    left.emplace_back(view.pages.get(), std::move(postponed));
  }
  for (const auto& [pages, ranges] : left) {
    for (const ByteRange range : ranges) run(job, *pages, range, nullptr);
  }
  job.views.clear();
  job.map = {};  // whoever keeps the ticket keeps no descriptor
}

// Where the user has been before, and is therefore likely to be now, some bytes are left to him, and postponed.
void ViewPopulator::run(Job& job, MappingPages& pages, ByteRange range, std::vector<ByteRange>* postponed) {
  bool behind = false;
  for (std::uint64_t begin = range.begin; begin < range.end;) {
    if (stopping()) return;
    ByteRange piece{begin, std::min(begin + kPieceBytes, range.end)};
    begin = piece.end;
    if (calls_.is_backed(pages, piece, job.map)) {
      behind = true;
      continue;
    }
    if (std::exchange(behind, false) && postponed != nullptr && range.end - piece.begin > kLeadBytes) {
      begin = piece.begin + kLeadBytes;
      postponed->push_back({piece.begin, begin});
      continue;
    }
    if (!run_piece(job, pages, piece)) return;
  }
}

// False when nothing more of the mapping is to be had.
bool ViewPopulator::run_piece(Job& job, MappingPages& pages, ByteRange piece) {
  const Clock::time_point before = Clock::now();
  if (!calls_.is_resident(pages, piece)) {
    if (piece.size() > job.budget) return true;
    job.budget -= piece.size();
  }
  if (!calls_.populate(pages, piece)) return false;
  pause(job, Clock::now() - before);
  return true;
}

void ViewPopulator::pause(const Job& job, Clock::duration taken) {
  std::unique_lock lock(mutex_);
  if (job.paced) changed_.wait_for(lock, calls_.rest * taken, [&] { return stopping_ || !job.paced; });
}

bool ViewPopulator::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

}  // namespace warpload
