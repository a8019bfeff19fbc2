// Stopping loads, by hand and by the clock, and what other loads on the same workers notice of it.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/load_cases.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::catch_error;
using testing::MemorySource;
using Clock = std::chrono::steady_clock;

// Some dozen reads, each of which takes `delay`.
Checkpoint::Ptr slow(milliseconds delay) {
  return testing::checkpoint_of({{"weight", "BF16", {4'000'000}, testing::bf16_pattern(4'000'000)}}, {.delay = delay});
}

class LoadControlTest : public ::testing::TestWithParam<bool> {
 protected:
  // Deadlines and cancels are the same on the direct way and through slots.
  static SegmentOptions options() { return {.device = GetParam() ? Device::host_through_slots() : Device::host()}; }
  static LoaderOptions one_worker() { return {.threads = 1, .pinned_bytes = 4 << 20, .slot_bytes = 2 << 20}; }
};

TEST_P(LoadControlTest, DeadlineThatPassesEndsTheLoadWithAnErrorThatSaysSo) {
  const Loader loader(LoaderOptions{.threads = 2});
  auto load = loader.start(slow(milliseconds(20)), options());
  load.cancel_at(Clock::now() + milliseconds(50));
  const auto error = catch_error<CancelledError>([&] { static_cast<void>(load.get()); });
  EXPECT_NE(error.reason().find("deadline"), std::string::npos);
  EXPECT_LT(load.progress().bytes_done, load.progress().bytes_total);
}

TEST_P(LoadControlTest, WorkersNoticeTheDeadlineWithoutAnyoneWaiting) {
  const Loader loader(LoaderOptions{.threads = 2});
  auto load = loader.start(slow(milliseconds(20)), options());
  load.cancel_at(Clock::now() + milliseconds(50));
  while (!load.done()) std::this_thread::yield();
  EXPECT_THROW(load.rethrow_if_failed(), CancelledError);
}

TEST_P(LoadControlTest, DeadlineThatIsMetChangesNothing) {
  auto load = Loader(LoaderOptions{.threads = 2}).start(slow(milliseconds(0)), options());
  load.cancel_at(Clock::now() + hours(1));
  EXPECT_EQ(load.get().tensors().size(), 1U);
}

TEST_P(LoadControlTest, DeadlineCanBePutOff) {
  auto load = Loader(LoaderOptions{.threads = 2}).start(slow(milliseconds(5)), options());
  load.cancel_at(Clock::now() + hours(1));
  load.cancel_at(Clock::time_point::max());
  EXPECT_EQ(load.get().tensors().size(), 1U);
}

TEST_P(LoadControlTest, DeadlineOfTheLoadEndsAWaitForASegment) {
  auto load = Loader(LoaderOptions{.threads = 1}).start(slow(milliseconds(100)), options());
  load.cancel_at(Clock::now() + milliseconds(30));
  EXPECT_TRUE(load.wait_segment_for(0, hours(24 * 400)));
  EXPECT_THROW(load.rethrow_if_failed(), CancelledError);
}

TEST_P(LoadControlTest, LoadThatNoWorkerHasBegunIsOverAtItsDeadline) {
  const Loader loader(one_worker());
  auto blocker = loader.start(slow(milliseconds(100)), options());
  auto load = loader.start(slow(milliseconds(0)), options());
  load.cancel_at(Clock::now() + milliseconds(10));
  EXPECT_THROW(static_cast<void>(load.get()), CancelledError);
  EXPECT_FALSE(blocker.done());
  blocker.cancel();
}

TEST_P(LoadControlTest, CancelledLoadThatNoWorkerHasBegunIsOverAtOnce) {
  const Loader loader(one_worker());
  auto blocker = loader.start(slow(milliseconds(100)), options());
  auto load = loader.start(slow(milliseconds(0)), options());
  load.cancel();
  EXPECT_TRUE(load.done());
  EXPECT_FALSE(blocker.done());
  blocker.cancel();
}

INSTANTIATE_TEST_SUITE_P(Ways, LoadControlTest, ::testing::Bool(),
                         [](const auto& way) { return way.param ? "throughslots" : "direct"; });

}  // namespace
}  // namespace warpload
