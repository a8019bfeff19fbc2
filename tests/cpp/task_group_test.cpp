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

TEST(TaskGroupTest, FirstErrorWinsAndTasksThatHaveNotBegunAreDropped) {
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

TEST(TaskGroupTest, WaitForGivesUpAfterItsTimeAndLeavesTheGroupAlone) {
  ThreadPool pool(1);
  TaskGroup group(pool);
  std::latch release(1);
  group.run([&] { release.wait(); });
  EXPECT_FALSE(group.wait_until(steady_clock::now() + milliseconds(1)));
  release.count_down();
  group.wait();
  EXPECT_TRUE(group.wait_until(steady_clock::now() + milliseconds(0)));
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
