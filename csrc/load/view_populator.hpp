// Has the pages of views backed in the background, before they are used.
//
//   load   [==== Python builds the models =====]   the models are used
//   pages  [p]   [p]   [p]   [p]   [p]   [p]   [p][p][p][p][p] ...      one thread, piece by piece, in the order of use
//          paced: an eighth of the time         at full speed; ahead of the user where he has come as far
//
//   file   [ backed | asked for, where the page cache has not got it | not looked at yet ]    the disk is never idle
//                   <--------------- kAskedBytes ------------------->
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/mapping_pages.hpp"
#include "load/trace_ring.hpp"
#include "warpload/error.hpp"
#include "warpload/populate.hpp"

namespace warpload {

// Bytes of one mapping that are going to be used, in this order.
struct ViewPages {
  std::shared_ptr<MappingPages> pages;
  std::vector<ByteRange> ranges;
  std::size_t segment = 0;  // of the load
};

// How many bytes may be read from files so that views are populated, of the memory that is available.
[[nodiscard]] std::uint64_t populate_budget(Populate wanted, std::uint64_t available) noexcept;

// A service: nothing waits for it, and nobody hears of an error. A page that it has not come to is faulted in by its
// user, as ever.
//
// One thread, which starts with the first work. It has the priority of all others: it holds the lock of the process's
// memory map while it has a piece backed, and if it was put back meanwhile, everybody who maps memory would wait.
// Pieces are small for the same reason.
//
// Threads: any. The destructor drops what is left and waits for the piece under way. In a child after fork it is not
// to be used; see process_owned.hpp.
class ViewPopulator {
 public:
  // While a load goes on: one part of work, seven of rest. Where there are two processors, which share the memory's
  // bandwidth and the map's lock, a load felt more than that; and imports take long enough for most of it all the same.
  static constexpr int kRest = 7;

  // What is asked of a mapping, and how long the rests are; tests have others.
  struct Calls {
    std::function<bool(MappingPages&, ByteRange)> populate;
    std::function<void(const MappingPages&, ByteRange)> ask_ahead;
    std::function<bool(const MappingPages&, ByteRange)> is_resident;
    std::function<bool(const MappingPages&, ByteRange, const PageMap&)> is_backed;
    int rest = kRest;
  };

  // One load's work, for hurry().
  struct Job;
  using Ticket = std::shared_ptr<Job>;

  static constexpr std::uint64_t kPieceBytes = std::uint64_t{512} << 10;
  // How far it goes ahead of a user who has come to where it is: as long as he takes for that, it is of use.
  static constexpr std::uint64_t kLeadBytes = std::uint64_t{8} << 20;
  // How far ahead the disk is asked for what is to be backed: many requests, of which it works on several at once.
  static constexpr std::uint64_t kAskedBytes = std::uint64_t{16} << 20;

  ViewPopulator();
  explicit ViewPopulator(Calls calls);
  ViewPopulator(const ViewPopulator&) = delete;
  ViewPopulator& operator=(const ViewPopulator&) = delete;
  ~ViewPopulator();

  // Has all these pages backed, after those that were added before, an eighth of the time until hurry() is called. Of
  // what is not in the page cache at most `budget` bytes are read, and the rest is left alone. Mappings that go
  // meanwhile are skipped. What is done is noted in `trace`, if any. Null where there is no thread to be had.
  [[nodiscard]] Ticket add(std::vector<ViewPages> views, std::uint64_t budget,
                           std::shared_ptr<TraceRing> trace = nullptr) noexcept;

  // The load is over: what was added with it goes on without pauses.
  void hurry(const Ticket& ticket) noexcept;

  // Waits until there is nothing left to do.
  void drain();

 private:
  void work();
  void run(Job& job);
  class Pieces;
  void run(Job& job, const ViewPages& view, ByteRange range, std::vector<ByteRange>* postponed);
  void pause(const Job& job, std::chrono::steady_clock::duration taken);
  [[nodiscard]] bool stopping();

  Calls calls_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ticket> jobs_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace warpload
