#include "load/view_populator.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

ViewPopulator::Calls real_calls() {
  return {.populate = [](MappingPages& pages, ByteRange range) { return pages.populate(range); },
          .ask_ahead = [](const MappingPages& pages, ByteRange range) { pages.ask_ahead(range); },
          .is_resident = [](const MappingPages& pages, ByteRange range) { return pages.is_resident(range); },
          .is_backed = [](const MappingPages& pages, ByteRange range,
                          const PageMap& map) { return pages.is_backed(range, map); }};
}

}  // namespace

struct ViewPopulator::Job {
  std::vector<ViewPages> views;
  std::uint64_t budget = 0;
  std::shared_ptr<TraceRing> trace = {};
  PageMap map = {};
  bool paced = true;  // under the populator's lock
};

// The pieces of one range, in order, some of which are looked at ahead: what is not in the page cache the disk is asked
// for, as far as the budget goes.
class ViewPopulator::Pieces {
 public:
  struct Piece {
    ByteRange range;
    bool wanted;  // false where it would have to be read, and the budget is used up
  };

  Pieces(const Calls& calls, const MappingPages& pages, ByteRange range, std::uint64_t& budget)
      : calls_(calls), pages_(pages), left_(range), budget_(budget) {}

  std::optional<Piece> next() {
    while (left_.begin < left_.end && (ahead_.empty() || left_.begin - ahead_.front().range.begin < kAskedBytes))
      look();
    if (ahead_.empty()) return std::nullopt;
    const Piece piece = ahead_.front();
    ahead_.pop_front();
    return piece;
  }

  // Passes over the pieces before this one, which begins at an offset that next() would have come to.
  void pass_to(std::uint64_t begin) {
    while (!ahead_.empty() && ahead_.front().range.begin < begin) ahead_.pop_front();
    left_.begin = std::max(left_.begin, begin);
  }

 private:
  void look() {
    const ByteRange piece{left_.begin, std::min(left_.begin + kPieceBytes, left_.end)};
    left_.begin = piece.end;
    bool wanted = true;
    if (!calls_.is_resident(pages_, piece)) {
      wanted = piece.size() <= budget_;
      if (wanted) {
        budget_ -= piece.size();
        calls_.ask_ahead(pages_, piece);
      }
    }
    ahead_.push_back({piece, wanted});
  }

  const Calls& calls_;
  const MappingPages& pages_;
  ByteRange left_;  // not looked at yet
  std::uint64_t& budget_;
  std::deque<Piece> ahead_;
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

ViewPopulator::Ticket ViewPopulator::add(std::vector<ViewPages> views, std::uint64_t budget,
                                         std::shared_ptr<TraceRing> trace) noexcept {
  Ticket ticket;
  try {
    ticket = std::make_shared<Job>(Job{.views = std::move(views), .budget = budget, .trace = std::move(trace)});
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
  std::vector<std::pair<const ViewPages*, std::vector<ByteRange>>> left;
  for (const ViewPages& view : job.views) {
    std::vector<ByteRange> postponed;
    for (const ByteRange range : view.ranges) run(job, view, range, &postponed);
    left.emplace_back(&view, std::move(postponed));
  }
  for (const auto& [view, ranges] : left) {
    for (const ByteRange range : ranges) run(job, *view, range, nullptr);
  }
  job.views.clear();
  job.map = {};  // whoever keeps the ticket keeps no descriptor
}

// Where the user has been before, and is therefore likely to be now, some bytes are left to him, and postponed.
void ViewPopulator::run(Job& job, const ViewPages& view, ByteRange range, std::vector<ByteRange>* postponed) {
  MappingPages& pages = *view.pages;
  TracePen pen(job.trace.get());
  Pieces pieces(calls_, pages, range, job.budget);
  bool behind = false;
  while (const auto piece = pieces.next()) {
    if (stopping()) return;
    const std::uint64_t begin = piece->range.begin;
    if (calls_.is_backed(pages, piece->range, job.map)) {
      behind = true;
      continue;
    }
    if (std::exchange(behind, false) && postponed != nullptr && range.end - begin > kLeadBytes) {
      postponed->push_back({begin, begin + kLeadBytes});
      pieces.pass_to(begin + kLeadBytes);
      continue;
    }
    if (!piece->wanted) continue;
    const Clock::time_point before = Clock::now();
    pen.begin();
    if (!calls_.populate(pages, piece->range)) return;  // nothing more of the mapping is to be had
    pen.end(TraceKind::kPopulating, view.segment, piece->range.size());
    pause(job, Clock::now() - before);
  }
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
