#include "device/pinned_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::uint64_t kSlot = std::uint64_t{2} << 20;
const auto kNeverStop = [] { return false; };

// Done when the test says so.
struct Gate {
  std::atomic<bool> open = false;
  std::atomic<bool> broken = false;
};

class GatedEvent final : public Event {
 public:
  explicit GatedEvent(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  [[nodiscard]] bool done() override {
    if (gate_->broken) throw DeviceError({.reason = "the device is lost"});
    return gate_->open;
  }
  void synchronize() override {
    while (!done()) std::this_thread::yield();
  }

 private:
  std::shared_ptr<Gate> gate_;
};

// Pins nothing; counts, and refuses after a number of times.
class CountingPinner final : public DeviceBackend {
 public:
  explicit CountingPinner(int allowed = 1000) : allowed_(allowed) {}
  [[nodiscard]] DeviceId id() const noexcept override { return {}; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  void open() override {}
  [[nodiscard]] DeviceMemoryInfo memory_info() override { return {}; }
  [[nodiscard]] std::vector<std::shared_ptr<Segment>> allocate(std::span<const std::uint64_t>) override { return {}; }
  [[nodiscard]] std::unique_ptr<Stream> create_stream() override { return nullptr; }
  void pin(std::span<std::byte>) override {
    if (pinned.fetch_add(1) >= allowed_) {
      pinned.fetch_sub(1);
      throw DeviceError({.reason = "no more memory can be pinned"});
    }
  }
  void unpin(std::span<std::byte>) noexcept override { pinned.fetch_sub(1); }
  [[nodiscard]] const void* pinning_domain() const noexcept override { return this; }
  [[nodiscard]] bool can_cast(DType, DType) override { return false; }

  std::atomic<int> pinned = 0;

 private:
  std::string name_ = "counting";
  int allowed_;
};

struct PinnedPoolTest : ::testing::Test {
  std::shared_ptr<CountingPinner> pinner = std::make_shared<CountingPinner>();
  PinnedPool pool{{.limit_bytes = 2 * kSlot, .slot_bytes = kSlot}};

  PinnedPool::Slot take() { return std::move(*pool.acquire(pinner, kNeverStop)); }
};

TEST_F(PinnedPoolTest, SlotThatWasGivenBackServesAgainInsteadOfANewOne) {
  std::byte* first = nullptr;
  {
    const auto slot = take();
    first = slot.bytes().data();
    EXPECT_EQ(slot.bytes().size(), kSlot);
  }
  EXPECT_EQ(take().bytes().data(), first);
  EXPECT_EQ(pinner->pinned, 1);
}

TEST_F(PinnedPoolTest, SlotInFlightIsHandedOutOnlyAfterItsEvent) {
  const auto gate = std::make_shared<Gate>();
  pool.in_flight(take(), std::make_unique<GatedEvent>(gate));
  const auto second = take();
  std::atomic<bool> got = false;
  std::thread waiter([&] {
    const auto third = take();
    got = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_FALSE(got);
  gate->open = true;
  waiter.join();
  EXPECT_EQ(pinner->pinned, 2);
}

TEST_F(PinnedPoolTest, WaitingForASlotEndsWhenTheLoadStops) {
  const auto first = take();
  const auto second = take();
  std::atomic<bool> stopping = false;
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    stopping = true;
  });
  EXPECT_FALSE(pool.acquire(pinner, [&] { return stopping.load(); }).has_value());
  stopper.join();
}

TEST_F(PinnedPoolTest, GrowStopsAtTheLimit) {
  EXPECT_TRUE(pool.grow(pinner));
  EXPECT_TRUE(pool.grow(pinner));
  EXPECT_FALSE(pool.grow(pinner));
  EXPECT_EQ(pool.bytes(), 2 * kSlot);
}

TEST_F(PinnedPoolTest, ReleaseUnpinsWhatIsFreeAndKeepsWhatIsLeased) {
  auto kept = std::make_unique<PinnedPool::Slot>(take());
  EXPECT_TRUE(pool.grow(pinner));
  EXPECT_EQ(pool.release_unused(), kSlot);
  EXPECT_EQ(pinner->pinned, 1);
  kept.reset();
  EXPECT_EQ(pool.release_unused(), kSlot);
  EXPECT_EQ(pinner->pinned, 0);
}

TEST_F(PinnedPoolTest, RingStaysAsItIsWhenNoMoreCanBePinned) {
  const auto stingy = std::make_shared<CountingPinner>(1);
  auto first = std::make_unique<PinnedPool::Slot>(std::move(*pool.acquire(stingy, kNeverStop)));
  std::thread giver([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    first.reset();
  });
  EXPECT_TRUE(pool.acquire(stingy, kNeverStop).has_value());  // the first one, once it is back
  giver.join();
  EXPECT_EQ(pool.bytes(), kSlot);
  EXPECT_NE(pool.pinning_failure().find("no more memory"), std::string::npos);
}

TEST_F(PinnedPoolTest, PageableSlotsServeWhereNothingCanBePinned) {
  const auto mean = std::make_shared<CountingPinner>(0);
  const auto first = pool.acquire(mean, kNeverStop);
  const auto second = pool.acquire(mean, kNeverStop);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(mean->pinned, 0);
  EXPECT_NE(pool.pinning_failure(), "");
}

TEST_F(PinnedPoolTest, SlotThatTheDeviceDoesNotAnswerForIsNeverUsedAgain) {
  const auto gate = std::make_shared<Gate>();
  gate->broken = true;
  pool.in_flight(take(), std::make_unique<GatedEvent>(gate));
  const auto second = take();
  EXPECT_THROW(static_cast<void>(pool.acquire(pinner, kNeverStop)), DeviceError);
  EXPECT_EQ(pool.release_unused(), 0U);
  EXPECT_EQ(pinner->pinned, 2);
}

TEST_F(PinnedPoolTest, SeveralThreadsShareTheRing) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this] {
      for (int round = 0; round < 50; ++round) {
        auto slot = take();
        slot.bytes()[0] = std::byte{1};
        const auto gate = std::make_shared<Gate>();
        gate->open = true;
        pool.in_flight(std::move(slot), std::make_unique<GatedEvent>(gate));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(pool.bytes(), 2 * kSlot);
}

}  // namespace
}  // namespace warpload
