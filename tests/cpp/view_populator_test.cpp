#include "load/view_populator.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/mapped_file.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using testing::pattern_bytes;
using testing::safetensors_file;
using testing::TemporaryDirectory;

constexpr std::uint64_t kPiece = ViewPopulator::kPieceBytes;
constexpr std::uint64_t kLead = ViewPopulator::kLeadBytes;

constexpr int kForEver = 1 << 30;  // a rest after the shortest of pieces is longer than any test

// Shut until somebody opens it.
class Gate {
 public:
  void open() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Notes what is asked for, and gives the answers that a test wants.
class Recorder {
 public:
  using Piece = std::pair<const MappingPages*, std::uint64_t>;  // of which mapping, and where it begins

  ViewPopulator::Calls calls() {
    return {.populate = [this](MappingPages& pages, ByteRange range) { return note(pages, range); },
            .ask_ahead = [this](const MappingPages&, ByteRange range) { note_asked(range); },
            .is_resident = [this](const MappingPages&, ByteRange range) { return resident(range); },
            .is_backed = [this](const MappingPages&, ByteRange range, const PageMap&) { return backed(range); },
            .rest = rest};
  }
  std::vector<Piece> pieces() {
    const std::lock_guard lock(mutex_);
    return pieces_;
  }

  // What the disk was asked for, and how many pieces had been backed before.
  std::vector<std::pair<std::uint64_t, std::size_t>> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  void open_with_the_first_piece(Gate& gate) {
    answer = [&gate](const MappingPages&, ByteRange) {
      gate.open();
      return true;
    };
  }

  std::function<bool(const MappingPages&, ByteRange)> answer = [](const MappingPages&, ByteRange) { return true; };
  std::function<bool(ByteRange)> resident = [](ByteRange) { return true; };
  std::function<bool(ByteRange)> backed = [](ByteRange) { return false; };
  int rest = ViewPopulator::kRest;

 private:
  bool note(const MappingPages& pages, ByteRange range) {
    {
      const std::lock_guard lock(mutex_);
      pieces_.emplace_back(&pages, range.begin);
    }
    return answer(pages, range);
  }
  void note_asked(ByteRange range) {
    const std::lock_guard lock(mutex_);
    asked_.emplace_back(range.begin, pieces_.size());
  }
  std::mutex mutex_;
  std::vector<Piece> pieces_;
  std::vector<std::pair<std::uint64_t, std::size_t>> asked_;
};

class ViewPopulatorTest : public ::testing::Test {
 protected:
  // Has it all done, as after a load.
  void run(std::vector<ViewPages> views, std::uint64_t budget = ~std::uint64_t{0}) {
    ViewPopulator populator(recorder_.calls());
    populator.hurry(populator.add(std::move(views), budget));
    populator.drain();
  }
  const std::shared_ptr<MappingPages> first_ = std::make_shared<MappingPages>();
  const std::shared_ptr<MappingPages> second_ = std::make_shared<MappingPages>();
  Recorder recorder_;
};

TEST_F(ViewPopulatorTest, PiecesComeInTheOrderOfUse) {
  run({{second_, {{100, 100 + 2 * kPiece}, {9 * kPiece, 9 * kPiece + 1}}}, {first_, {{0, kPiece}}}});
  const std::vector<Recorder::Piece> expected{
      {second_.get(), 100}, {second_.get(), 100 + kPiece}, {second_.get(), 9 * kPiece}, {first_.get(), 0}};
  EXPECT_EQ(recorder_.pieces(), expected);
}

TEST_F(ViewPopulatorTest, LoadsAreServedInTheirOrder) {
  Gate added;
  recorder_.answer = [&](const MappingPages&, ByteRange) { return added.wait(); };
  const auto third = std::make_shared<MappingPages>();
  ViewPopulator populator(recorder_.calls());
  for (const auto& pages : {first_, second_, third}) {
    populator.hurry(populator.add({{pages, {{0, kPiece + 1}}}}, 0));
  }
  added.open();
  populator.drain();
  const std::vector<Recorder::Piece> expected{{first_.get(), 0},       {first_.get(), kPiece}, {second_.get(), 0},
                                              {second_.get(), kPiece}, {third.get(), 0},       {third.get(), kPiece}};
  EXPECT_EQ(recorder_.pieces(), expected);
}

TEST_F(ViewPopulatorTest, AMappingThatHasGoneIsLeftAndTheNextOneIsNot) {
  recorder_.answer = [this](const MappingPages& pages, ByteRange) { return &pages != first_.get(); };
  run({{first_, {{0, 5 * kPiece}}}, {second_, {{0, 2 * kPiece}}}});
  const std::vector<Recorder::Piece> expected{{first_.get(), 0}, {second_.get(), 0}, {second_.get(), kPiece}};
  EXPECT_EQ(recorder_.pieces(), expected);
}

TEST_F(ViewPopulatorTest, WhatIsNotInThePageCacheIsReadWhileTheBudgetLasts) {
  recorder_.resident = [](ByteRange range) { return range.begin >= 4 * kPiece; };
  run({{first_, {{0, 6 * kPiece}}}}, 2 * kPiece);
  const std::vector<Recorder::Piece> expected{
      {first_.get(), 0}, {first_.get(), kPiece}, {first_.get(), 4 * kPiece}, {first_.get(), 5 * kPiece}};
  EXPECT_EQ(recorder_.pieces(), expected);
}

TEST_F(ViewPopulatorTest, TheDiskIsAskedForWhatThePageCacheHasNotGotSomeMegabytesAhead) {
  constexpr std::uint64_t kAhead = ViewPopulator::kAskedBytes / kPiece;
  recorder_.resident = [](ByteRange range) { return range.begin / kPiece % 2 == 0; };
  run({{first_, {{0, 2 * kAhead * kPiece}}}});
  std::vector<std::pair<std::uint64_t, std::size_t>> expected;
  for (std::uint64_t piece = 1; piece < 2 * kAhead; piece += 2) {
    expected.emplace_back(piece * kPiece, piece < kAhead ? 0 : piece - kAhead + 1);
  }
  EXPECT_EQ(recorder_.asked(), expected);
  EXPECT_EQ(recorder_.pieces().size(), 2 * kAhead);
}

TEST_F(ViewPopulatorTest, TheDiskIsNotAskedForMoreThanTheBudget) {
  recorder_.resident = [](ByteRange) { return false; };
  run({{first_, {{0, 5 * kPiece}}}, {second_, {{0, 5 * kPiece}}}}, 2 * kPiece + 1);
  const std::vector<std::pair<std::uint64_t, std::size_t>> expected{{0, 0}, {kPiece, 0}};
  EXPECT_EQ(recorder_.asked(), expected);
}

TEST_F(ViewPopulatorTest, WhereTheUserHasComeAsFarItGoesAheadOfHimAndComesBackAtTheEnd) {
  recorder_.backed = [](ByteRange range) { return range.begin < 3 * kPiece; };
  const std::uint64_t end = 3 * kPiece + kLead + 2 * kPiece;
  run({{first_, {{0, end}}}, {second_, {{4 * kPiece, 5 * kPiece}}}});
  std::vector<Recorder::Piece> expected{{first_.get(), 3 * kPiece + kLead}, {first_.get(), 4 * kPiece + kLead}};
  expected.emplace_back(second_.get(), 4 * kPiece);
  for (std::uint64_t left = 3 * kPiece; left < 3 * kPiece + kLead; left += kPiece) {
    expected.emplace_back(first_.get(), left);
  }
  EXPECT_EQ(recorder_.pieces(), expected);
}

TEST_F(ViewPopulatorTest, ItsEndDoesNotWaitForWhatIsLeft) {
  Gate begun;
  recorder_.open_with_the_first_piece(begun);
  constexpr std::uint64_t kMany = std::uint64_t{1} << 40;
  {
    ViewPopulator populator(recorder_.calls());
    populator.hurry(populator.add({{first_, {{0, kMany * kPiece}}}}, 0));
    begun.wait();
  }
  EXPECT_LT(recorder_.pieces().size(), kMany);
}

TEST_F(ViewPopulatorTest, ItsEndDoesNotWaitForAPause) {
  Gate begun;
  recorder_.rest = kForEver;
  recorder_.open_with_the_first_piece(begun);
  {
    ViewPopulator populator(recorder_.calls());
    static_cast<void>(populator.add({{first_, {{0, 100 * kPiece}}}}, 0));
    begun.wait();
  }
  EXPECT_EQ(recorder_.pieces().size(), 1U);
}

TEST_F(ViewPopulatorTest, WhileALoadGoesOnAnEighthOfTheTimeIsWork) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::pair<Clock::time_point, Clock::time_point>> work;
  recorder_.answer = [&](const MappingPages&, ByteRange) {
    const Clock::time_point begin = Clock::now();
    while (Clock::now() - begin < std::chrono::milliseconds(2)) std::this_thread::yield();
    work.emplace_back(begin, Clock::now());
    return true;
  };
  ViewPopulator populator(recorder_.calls());
  const auto ticket = populator.add({{first_, {{0, 5 * kPiece}}}}, 0);
  populator.drain();
  ASSERT_EQ(work.size(), 5U);
  for (std::size_t piece = 1; piece < work.size(); ++piece) {
    const auto [begin, end] = work[piece - 1];
    EXPECT_GE(work[piece].first - end, 7 * (end - begin));
  }
}

TEST_F(ViewPopulatorTest, ALoadThatIsOverPausesNoMore) {
  Gate begun;
  recorder_.rest = kForEver;
  recorder_.open_with_the_first_piece(begun);
  ViewPopulator populator(recorder_.calls());
  const auto ticket = populator.add({{first_, {{0, 100 * kPiece}}}}, 0);
  begun.wait();
  populator.hurry(ticket);
  populator.drain();
  EXPECT_EQ(recorder_.pieces().size(), 100U);
}

TEST(PopulateBudgetTest, IsHalfOfTheMemoryThatIsAvailableUnlessAllIsAskedForOrNothing) {
  EXPECT_EQ(populate_budget(Populate::kAuto, 1001), 500U);
  EXPECT_EQ(populate_budget(Populate::kAuto, 0), 0U);
  EXPECT_EQ(populate_budget(Populate::kAlways, 0), ~std::uint64_t{0});
  EXPECT_EQ(populate_budget(Populate::kNever, 1001), 0U);
}

// -- with loads and files ---------------------------------------------------------------------------------------------

class PopulatedLoadTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = std::size_t{6} << 20;

  PopulatedLoadTest()
      : checkpoint_(Checkpoint::open(directory_.write(
            "a.safetensors", safetensors_file({{"a", "U8", {kBytes / 2}, pattern_bytes(kBytes / 2)},
                                               {"b", "U8", {kBytes / 2}, pattern_bytes(kBytes / 2)}})))) {}

  [[nodiscard]] bool is_backed(const Tensor& tensor) const {
    const auto* bytes = tensor.data();
    return map_.is_backed(bytes) && map_.is_backed(bytes + tensor.nbytes() - 1);
  }
  static std::size_t thread_count() {
    using Entries = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(std::distance(Entries("/proc/self/task"), Entries()));
  }
  [[nodiscard]] TensorList load(const Loader& loader) const { return loader.start(checkpoint_).get().tensors(); }

  TemporaryDirectory directory_;
  Checkpoint::Ptr checkpoint_;
  PageMap map_;
};

TEST_F(PopulatedLoadTest, ViewsAreBackedAfterTheLoadUnlessThatIsNotWanted) {
  const TensorList untouched = load(Loader({.threads = 1, .populate = Populate::kNever}));
  for (const Populate populate : {Populate::kAuto, Populate::kAlways}) {
    const Loader loader({.threads = 1, .populate = populate});
    const TensorList tensors = load(loader);
    while (!is_backed(tensors[0]) || !is_backed(tensors[1])) std::this_thread::yield();
    EXPECT_EQ(std::memcmp(tensors[1].data(), pattern_bytes(kBytes / 2).data(), kBytes / 2), 0);
  }
  EXPECT_FALSE(is_backed(untouched[0]));
  EXPECT_FALSE(is_backed(untouched[1]));
}

TEST_F(PopulatedLoadTest, ViewsOfALoadThatCopiesNothingAreBackedWhileItIsUnderWay) {
  const Loader loader({.threads = 1});
  LoadHandle handle = loader.start(checkpoint_);
  handle.wait();
  const TensorList tensors = handle.tensors(0);
  while (!is_backed(tensors[0]) || !is_backed(tensors[1])) std::this_thread::yield();
}

TEST_F(PopulatedLoadTest, WhereItIsNotWantedThereIsNoThreadForIt) {
  const Loader loader({.threads = 1, .populate = Populate::kNever});
  const std::size_t threads = thread_count();
  const TensorList tensors = load(loader);
  EXPECT_EQ(thread_count(), threads);
}

TEST_F(PopulatedLoadTest, AFewBytesAreNotWorthAThread) {
  const auto small = Checkpoint::open(directory_.write(
      "small.safetensors", safetensors_file({{"a", "U8", {std::size_t{1} << 20}, pattern_bytes(1 << 20)}})));
  const Loader loader({.threads = 1});
  static_cast<void>(loader.start(small).get());
  const std::size_t threads = thread_count();
  const TensorList tensors = load(loader);
  EXPECT_EQ(thread_count(), threads + 1);
}

TEST_F(PopulatedLoadTest, ALoaderEndsWhileItsViewsAreBeingPopulated) {
  TensorList tensors;
  for (int attempt = 0; attempt < 50; ++attempt) tensors = load(Loader({.threads = 1}));
  EXPECT_EQ(std::memcmp(tensors[0].data(), pattern_bytes(kBytes / 2).data(), kBytes / 2), 0);
}

TEST_F(PopulatedLoadTest, TensorsGoWhileTheyAreBeingPopulated) {
  const Loader loader({.threads = 1});
  for (int attempt = 0; attempt < 200; ++attempt) static_cast<void>(load(loader));
}

}  // namespace
}  // namespace warpload
