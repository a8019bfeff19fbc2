// Events of a GPU that are used again and again, on the fake driver.
#include "device/cuda/event_pool.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cpp/support/load_cases.hpp"
#include "device/backend.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload::cuda {
namespace {

using testing::kMiB;

class EventPoolTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::reset(); }
  void TearDown() override {
    EXPECT_TRUE(testing::live().nothing());
    EXPECT_EQ(testing::faults(), std::vector<std::string>{});
    testing::reset();
  }

  static std::unique_ptr<EventPool> make_pool() {
    return std::make_unique<EventPool>(std::make_shared<Context>(Driver::open(WARPLOAD_FAKE_CUDA_LIBRARY), 0));
  }

  static EventHandle take(EventPool& pool) {
    const CurrentContext current(pool.context());
    return pool.take();
  }
};

TEST_F(EventPoolTest, EventIsOneTakersUntilItComesBack) {
  const auto pool = make_pool();
  const EventHandle first = take(*pool);
  const EventHandle second = take(*pool);
  EXPECT_NE(first, second);
  pool->release(first);
  EXPECT_EQ(take(*pool), first);
  pool->release(first);
  pool->release(second);
  EXPECT_EQ(testing::call_count("cuEventCreate"), 2U);
  EXPECT_EQ(testing::call_count("cuEventDestroy_v2"), 0U);
}

TEST_F(EventPoolTest, ThreadsThatTakeAndGiveBackAtOnceNeverHaveTheSame) {
  const auto pool = make_pool();
  std::mutex mutex;
  std::set<EventHandle> held;
  std::vector<std::thread> threads;
  for (int index = 0; index < 4; ++index) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        const EventHandle event = take(*pool);
        {
          const std::lock_guard lock(mutex);
          EXPECT_TRUE(held.insert(event).second);
        }
        std::this_thread::yield();
        {
          const std::lock_guard lock(mutex);
          held.erase(event);
        }
        pool->release(event);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(testing::call_count("cuEventCreate"), 4U);
}

TEST_F(EventPoolTest, EventThatCannotBeMadeIsAnErrorAndTheNextMayBe) {
  const auto pool = make_pool();
  testing::fail_call("cuEventCreate", 1, kUnknown);
  EXPECT_THROW(static_cast<void>(take(*pool)), DeviceError);
  pool->release(take(*pool));
}

TEST_F(EventPoolTest, EventThatCannotBeRecordedComesBack) {
  const Device device = Device::cuda(0, WARPLOAD_FAKE_CUDA_LIBRARY);
  const auto stream = device.backend()->create_stream();
  testing::fail_call("cuEventRecord", 1, kUnknown);
  EXPECT_THROW(static_cast<void>(stream->record()), DeviceError);
  stream->record()->synchronize();
  EXPECT_EQ(testing::call_count("cuEventCreate"), 1U);
}

TEST_F(EventPoolTest, LaterLoadMakesNoEventsOfItsOwn) {
  const Device device = Device::cuda(0, WARPLOAD_FAKE_CUDA_LIBRARY);
  const Loader loader({.threads = 3, .pinned_bytes = 6 * kMiB, .slot_bytes = 2 * kMiB});
  constexpr std::size_t kElements = 5'000'000;
  const auto load = [&] {
    const auto checkpoint = testing::checkpoint_of({{"weight", "F32", {kElements}, testing::f32_pattern(kElements)}});
    const auto tensors = loader.start(checkpoint, {.device = device}).get().tensors();
    EXPECT_TRUE(testing::bytes_of(tensors[0], device) == testing::f32_pattern(kElements));
  };
  for (int round = 0; round < 3; ++round) load();
  EXPECT_GE(testing::call_count("cuEventRecord"), 3 * kElements * 4 / (2 * kMiB));
  EXPECT_LE(testing::call_count("cuEventCreate"),
            8U);  // for the slots in flight, and one that is being recorded a thread
}

}  // namespace
}  // namespace warpload::cuda
