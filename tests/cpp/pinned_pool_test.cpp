#include "device/pinned_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
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
  explicit Gate(bool is_open = false) : open(is_open) {}
  std::atomic<bool> open;
  std::atomic<bool> broken = false;
};

class GatedEvent final : public Event {
 public:
  explicit GatedEvent(
      std::shared_ptr<Gate> gate, std::function<void()> on_use = [] {})
      : gate_(std::move(gate)), on_use_(std::move(on_use)) {}
  ~GatedEvent() override { on_use_(); }
  [[nodiscard]] bool done() override {
    on_use_();
    if (gate_->broken) throw DeviceError({.reason = "the device is lost"});
    return gate_->open;
  }
  void synchronize() override {
    while (!done()) std::this_thread::yield();
  }

 private:
  std::shared_ptr<Gate> gate_;
  std::function<void()> on_use_;
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
    on_use();
    ++asked;
    if (pinned.fetch_add(1) >= allowed_) {
      pinned.fetch_sub(1);
      throw DeviceError({.reason = "no more memory can be pinned"});
    }
    threads.insert(std::this_thread::get_id());
  }
  void unpin(std::span<std::byte>) noexcept override {
    on_use();
    pinned.fetch_sub(1);
  }
  [[nodiscard]] const void* pinning_domain() const noexcept override { return this; }
  [[nodiscard]] bool can_cast(DType, DType) override { return false; }

  std::function<void()> on_use = [] {};
  std::atomic<int> asked = 0;
  std::atomic<int> pinned = 0;
  std::set<std::thread::id> threads;  // that pinned, one at a time

 private:
  std::string name_ = "counting";
  int allowed_;
};

// Of two loads, say, to two devices; and of a third, which asks.
constexpr int kLanes[3] = {};
constexpr const void* kLane = &kLanes[0];
constexpr const void* kOtherLane = &kLanes[1];
constexpr const void* kAsking = &kLanes[2];

struct PinnedPoolTest : ::testing::Test {
  std::shared_ptr<CountingPinner> pinner = std::make_shared<CountingPinner>();
  PinnedPool pool{{.limit_bytes = 2 * kSlot, .slot_bytes = kSlot}};

  PinnedPool::Slot take(const void* lane = kAsking) { return std::move(*pool.acquire(pinner, lane, kNeverStop)); }
  void send(PinnedPool::Slot slot, const std::shared_ptr<Gate>& gate, const void* lane = kLane) {
    pool.in_flight(std::move(slot), std::make_unique<GatedEvent>(gate), lane);
  }
  void wait_until_pinned(int slots) const {
    while (pinner->pinned < slots) std::this_thread::yield();
  }
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
  send(take(), gate);
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
  EXPECT_FALSE(pool.acquire(pinner, kAsking, [&] { return stopping.load(); }).has_value());
  stopper.join();
}

TEST_F(PinnedPoolTest, SlotsThatWereReservedArePinnedAheadOfNeedUpToTheLimit) {
  pool.reserve(pinner, 5);
  wait_until_pinned(2);
  EXPECT_EQ(pool.release_unused(), 2 * kSlot);  // once the pinner has ended
  EXPECT_EQ(pinner->pinned, 0);
}

TEST_F(PinnedPoolTest, NoMoreSlotsAreMadeThanWereAskedFor) {
  PinnedPool small({.limit_bytes = 8 * kSlot, .slot_bytes = kSlot, .most_slots = 3});
  small.reserve(pinner, 8);
  wait_until_pinned(3);
  EXPECT_EQ(small.release_unused(), 3 * kSlot);
}

TEST_F(PinnedPoolTest, NoWorkerPins) {
  {
    const auto first = take();
    const auto second = take();
  }
  EXPECT_EQ(pool.release_unused(), 2 * kSlot);
  EXPECT_FALSE(pinner->threads.contains(std::this_thread::get_id()));
}

TEST_F(PinnedPoolTest, SlotWhoseCopyEndsServesWhileAnotherIsStillBeingPinned) {
  const auto pinning = std::make_shared<Gate>();
  pinner->on_use = [this, pinning] {
    while (pinner->pinned > 0 && !pinning->open) std::this_thread::yield();
  };
  auto first = take();
  std::byte* const memory = first.bytes().data();
  send(std::move(first), std::make_shared<Gate>(true));
  EXPECT_EQ(take().bytes().data(), memory);
  pinning->open = true;
}

TEST_F(PinnedPoolTest, SlotOfABusyDeviceKeepsNobodyFromThoseOfAnother) {
  const auto busy = std::make_shared<Gate>();
  send(take(), busy, kLane);
  auto second = take();
  std::byte* const memory = second.bytes().data();
  send(std::move(second), std::make_shared<Gate>(true), kOtherLane);
  EXPECT_EQ(take().bytes().data(), memory);
  busy->open = true;
}

TEST_F(PinnedPoolTest, SlotOfEitherDeviceServesWhicheverLandsFirst) {
  const auto first = std::make_shared<Gate>();
  const auto second = std::make_shared<Gate>();
  send(take(), first, kLane);
  send(take(), second, kOtherLane);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    second->open = true;
  });
  EXPECT_TRUE(pool.acquire(pinner, kAsking, kNeverStop).has_value());
  opener.join();
  first->open = true;
}

// Whoever asks the pool from within a call of the device would wait for ever if its lock were held.
TEST_F(PinnedPoolTest, NoCallOfTheDeviceIsMadeUnderTheLock) {
  std::atomic<int> calls = 0;
  const auto ask = [&] {
    static_cast<void>(pool.pinned_bytes());
    ++calls;
  };
  pinner->on_use = ask;
  for (const void* lane : {kLane, kOtherLane, kLane, kOtherLane}) {
    pool.in_flight(take(), std::make_unique<GatedEvent>(std::make_shared<Gate>(true), ask), lane);
  }
  pool.release_unused();
  EXPECT_GE(calls, 1 + 2 * 4 + 1);  // pinned, looked at and destroyed, unpinned
}

TEST_F(PinnedPoolTest, ReleaseUnpinsWhatIsFreeAndKeepsWhatIsLeased) {
  auto kept = std::make_unique<PinnedPool::Slot>(take());
  pool.reserve(pinner, 2);
  wait_until_pinned(2);
  EXPECT_EQ(pool.release_unused(), kSlot);
  EXPECT_EQ(pinner->pinned, 1);
  kept.reset();
  EXPECT_EQ(pool.release_unused(), kSlot);
  EXPECT_EQ(pinner->pinned, 0);
}

TEST_F(PinnedPoolTest, RingStaysAsItIsWhenNoMoreCanBePinned) {
  const auto stingy = std::make_shared<CountingPinner>(1);
  auto first = std::make_unique<PinnedPool::Slot>(std::move(*pool.acquire(stingy, kLane, kNeverStop)));
  std::thread giver([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    first.reset();
  });
  EXPECT_TRUE(pool.acquire(stingy, kLane, kNeverStop).has_value());  // the first one, once it is back
  giver.join();
  EXPECT_LE(stingy->asked, 3);  // and not again with every look
  EXPECT_EQ(pool.pinned_bytes(), kSlot);
  EXPECT_NE(pool.pinning_failure().find("no more memory"), std::string::npos);
}

TEST_F(PinnedPoolTest, PageableSlotsServeWhereNothingCanBePinned) {
  const auto mean = std::make_shared<CountingPinner>(0);
  const auto first = pool.acquire(mean, kLane, kNeverStop);
  const auto second = pool.acquire(mean, kLane, kNeverStop);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(mean->pinned, 0);
  EXPECT_NE(pool.pinning_failure(), "");
}

TEST_F(PinnedPoolTest, SlotThatTheDeviceDoesNotAnswerForIsNeverUsedAgain) {
  const auto gate = std::make_shared<Gate>();
  gate->broken = true;
  auto first = take();
  const std::byte* const memory = first.bytes().data();
  send(std::move(first), gate);
  EXPECT_THROW(static_cast<void>(pool.acquire(pinner, kLane, kNeverStop)), DeviceError);
  const auto second = take(kLane);
  const auto third = take(kLane);
  EXPECT_NE(second.bytes().data(), memory);
  EXPECT_NE(third.bytes().data(), memory);
  EXPECT_EQ(pool.release_unused(), 0U);
  EXPECT_EQ(pinner->pinned, 3);
}

TEST_F(PinnedPoolTest, DeviceThatBreaksIsNobodysErrorButItsOwn) {
  const auto gate = std::make_shared<Gate>();
  gate->broken = true;
  send(take(), gate, kLane);
  const auto second = take(kOtherLane);
  const auto third = take(kOtherLane);  // in place of the one that is lost
  EXPECT_NE(second.bytes().data(), third.bytes().data());
}

TEST_F(PinnedPoolTest, WhoeverWaitsForItsOwnCopyLeavesTheLookingToOthers) {
  PinnedPool three({.limit_bytes = 3 * kSlot, .slot_bytes = kSlot});
  const auto take_one = [&](const void* lane) { return three.acquire(pinner, lane, kNeverStop).has_value(); };
  const auto send_one = [&](std::optional<PinnedPool::Slot> slot, const std::shared_ptr<Gate>& gate, const void* lane) {
    three.in_flight(std::move(*slot), std::make_unique<GatedEvent>(gate), lane);
  };
  const auto first = std::make_shared<Gate>();
  const auto second = std::make_shared<Gate>();
  send_one(three.acquire(pinner, kLane, kNeverStop), first, kLane);
  auto leased = three.acquire(pinner, kLane, kNeverStop);
  const auto kept = three.acquire(pinner, kLane, kNeverStop);
  auto looker = std::async(std::launch::async, take_one, kOtherLane);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  send_one(std::move(leased), second, kOtherLane);  // which the looker now waits for
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  auto other = std::async(std::launch::async, take_one, kAsking);
  first->open = true;
  EXPECT_EQ(other.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  second->open = true;
  EXPECT_TRUE(looker.get());
  EXPECT_TRUE(other.get());
}

TEST_F(PinnedPoolTest, SlotsOfALaneWhoseCopiesAreAllDoneAreFree) {
  const auto gate = std::make_shared<Gate>();
  send(take(), gate);
  send(take(), gate);
  gate->open = true;
  pool.landed(kLane);
  const auto first = take();
  const auto second = take();
  EXPECT_EQ(pinner->pinned, 2);
}

TEST_F(PinnedPoolTest, WaitersOfAnotherLaneDoNotWaitForACopyThatTakesLong) {
  const auto busy = std::make_shared<Gate>();
  send(take(), busy, kLane);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([this] {
      for (int round = 0; round < 50; ++round) send(take(kOtherLane), std::make_shared<Gate>(true), kOtherLane);
    });
  }
  for (std::thread& thread : threads) thread.join();  // by way of the one slot that is left
  busy->open = true;
}

TEST_F(PinnedPoolTest, DeviceThatBreaksWhileMoreIsToBePinnedIsReported) {
  const auto stingy = std::make_shared<CountingPinner>(1);
  const auto gate = std::make_shared<Gate>();
  gate->broken = true;
  send(std::move(*pool.acquire(stingy, kLane, kNeverStop)), gate);
  EXPECT_THROW(static_cast<void>(pool.acquire(stingy, kLane, kNeverStop)), DeviceError);
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
        send(std::move(slot), gate);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(pool.pinned_bytes(), 2 * kSlot);
}

}  // namespace
}  // namespace warpload
