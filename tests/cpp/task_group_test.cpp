#include "exec/task_group.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <stdexcept>
#include <string>

namespace warpload {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string message_of(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    return exception.what();
  }
  return "";
}

TEST(ThreadPoolTest, DestructorRunsWhatIsQueued) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool(2);
    for (int task = 0; task < 100; ++task) pool.submit(nullptr, [&] { ++ran; });
  }
  EXPECT_EQ(ran, 100);
}

TEST(ThreadPoolTest, PoolOfZeroThreadsStillHasOne) { EXPECT_EQ(ThreadPool(0).size(), 1U); }

TEST(TaskGroupTest, WaitReturnsWhenEveryTaskHasRun) {
  ThreadPool pool(3);
  TaskGroup group(pool);
  std::atomic<int> ran = 0;
  for (int task = 0; task < 1000; ++task) group.run([&] { ++ran; });
  group.wait();
  EXPECT_EQ(ran, 1000);
  EXPECT_TRUE(group.finished());
  EXPECT_EQ(group.error(), nullptr);
}

TEST(TaskGroupTest, FirstErrorWinsAndTasksThatHaveNotBegunAreWithdrawn) {
  ThreadPool pool(1);
  TaskGroup group(pool);
  std::latch queued(1);
  std::atomic<int> ran = 0;
  group.run([&] {
    queued.wait();
    throw std::runtime_error("first");
  });
  group.run([&] {
    ++ran;
    throw std::runtime_error("second");
  });
  queued.count_down();
  group.wait();
  EXPECT_EQ(message_of(group.error()), "first");
  EXPECT_EQ(ran, 0);
}

TEST(TaskGroupTest, RunningTasksSeeThatTheGroupIsStopping) {
  ThreadPool pool(2);
  TaskGroup group(pool);
  std::latch started(1);
  group.run([&] {
    started.count_down();
    while (!group.stopping()) std::this_thread::yield();
  });
  started.wait();
  group.fail(std::make_exception_ptr(std::runtime_error("cancelled")));
  group.wait();
  EXPECT_EQ(message_of(group.error()), "cancelled");
}

TEST(TaskGroupTest, FailureAfterTheEndIsIgnored) {
  ThreadPool pool(1);
  TaskGroup group(pool);
  group.run([] {});
  group.wait();
  group.fail(std::make_exception_ptr(std::runtime_error("too late")));
  EXPECT_EQ(group.error(), nullptr);
  EXPECT_FALSE(group.stopping());
}

TEST(TaskGroupTest, DestructorStopsAndDrains) {
  ThreadPool pool(2);
  std::atomic<bool> inside = false;
  {
    TaskGroup group(pool);
    std::latch started(1);
    group.run([&] {
      inside = true;
      started.count_down();
      while (!group.stopping()) std::this_thread::yield();
      inside = false;
    });
    started.wait();
  }
  EXPECT_FALSE(inside);
}

TEST(TaskGroupTest, WaitUntilGivesUpAfterItsTimeAndLeavesTheGroupAlone) {
  ThreadPool pool(1);
  TaskGroup group(pool);
  std::latch release(1);
  group.run([&] { release.wait(); });
  EXPECT_FALSE(group.wait_until(steady_clock::now() + milliseconds(1)));
  release.count_down();
  group.wait();
  EXPECT_TRUE(group.wait_until(steady_clock::now() + milliseconds(0)));
}

TEST(TaskGroupTest, FailedGroupDoesNotWaitForWorkersOfAnother) {
  ThreadPool pool(1);
  TaskGroup busy(pool);
  TaskGroup queued(pool);
  std::latch release(1);
  std::atomic<int> ran = 0;
  busy.run([&] { release.wait(); });
  for (int task = 0; task < 3; ++task) queued.run([&] { ++ran; });
  queued.fail(std::make_exception_ptr(std::runtime_error("cancelled")));
  EXPECT_TRUE(queued.finished());
  EXPECT_EQ(message_of(queued.error()), "cancelled");
  release.count_down();
  busy.wait();
  EXPECT_EQ(ran, 0);
}

TEST(TaskGroupTest, AtEndRunsOnceAfterTheLastTaskAndBeforeTheGroupIsFinished) {
  ThreadPool pool(3);
  std::atomic<int> ran = 0;
  std::atomic<int> seen_at_end = 0;
  std::atomic<int> ends = 0;
  std::latch all_queued(1);
  TaskGroup group(pool, [&] {
    seen_at_end = ran.load();
    ++ends;
    std::this_thread::sleep_for(milliseconds(5));
  });
  for (int task = 0; task < 20; ++task) {
    group.run([&] {
      all_queued.wait();
      ++ran;
    });
  }
  all_queued.count_down();
  group.wait();
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(seen_at_end, 20);
}

TEST(TaskGroupTest, AtEndRunsWhenTheTasksThatAreLeftAreWithdrawn) {
  ThreadPool pool(1);
  std::atomic<int> ends = 0;
  TaskGroup group(pool, [&] { ++ends; });
  TaskGroup other(pool);
  std::latch first_is_over(1);
  std::latch release(1);
  group.run([&] { first_is_over.count_down(); });
  other.run([&] { release.wait(); });
  group.run([] {});
  first_is_over.wait();
  group.fail(std::make_exception_ptr(std::runtime_error("cancelled")));
  group.wait();
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(message_of(group.error()), "cancelled");
  release.count_down();
}

TEST(TaskGroupTest, AtEndRunsAgainForTasksThatCameMeanwhile) {
  ThreadPool pool(2);
  std::atomic<int> ends = 0;
  std::latch at_end(1);
  std::latch go_on(1);
  TaskGroup group(pool, [&] {
    if (++ends > 1) return;
    at_end.count_down();
    go_on.wait();
  });
  group.run([] {});
  at_end.wait();
  std::latch second_is_over(1);
  group.run([&] { second_is_over.count_down(); });
  second_is_over.wait();
  go_on.count_down();
  group.wait();
  EXPECT_EQ(ends, 2);
}

TEST(TaskGroupTest, AtEndIsLeftOutWhereNoTaskBegan) {
  ThreadPool pool(1);
  TaskGroup busy(pool);
  std::latch release(1);
  busy.run([&] { release.wait(); });
  std::atomic<int> ends = 0;
  TaskGroup group(pool, [&] { ++ends; });
  group.run([] {});
  group.fail(std::make_exception_ptr(std::runtime_error("cancelled")));
  EXPECT_TRUE(group.finished());
  EXPECT_EQ(ends, 0);
  release.count_down();
}

TEST(TaskGroupTest, ErrorOfAtEndIsTheGroups) {
  ThreadPool pool(1);
  TaskGroup group(pool, [] { throw std::runtime_error("at the end"); });
  group.run([] {});
  group.wait();
  EXPECT_EQ(message_of(group.error()), "at the end");
}

TEST(TaskGroupTest, GroupsOfOnePoolFailApart) {
  ThreadPool pool(2);
  TaskGroup good(pool);
  TaskGroup bad(pool);
  std::atomic<int> ran = 0;
  bad.run([] { throw std::runtime_error("bad"); });
  for (int task = 0; task < 10; ++task) good.run([&] { ++ran; });
  good.wait();
  bad.wait();
  EXPECT_EQ(ran, 10);
  EXPECT_EQ(good.error(), nullptr);
  EXPECT_EQ(message_of(bad.error()), "bad");
}

}  // namespace
}  // namespace warpload
