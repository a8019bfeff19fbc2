// The ring of what threads note: what it keeps, what it says of the rest, and readers beside writers.
#include "load/trace_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace warpload {
namespace {

using Clock = std::chrono::steady_clock;

// An event all of whose fields follow from one number.
TraceEvent event_of(std::uint64_t number) {
  return {.begin = Clock::time_point(Clock::duration(static_cast<std::int64_t>(number))),
          .end = Clock::time_point(Clock::duration(static_cast<std::int64_t>(number * 3))),
          .bytes = number * 5,
          .thread = static_cast<std::uint32_t>(number * 7),
          .segment = static_cast<std::uint32_t>(number % 1000),
          .kind = static_cast<TraceKind>(number % 7)};
}

bool is_whole(const TraceEvent& event) {
  const TraceEvent expected = event_of(static_cast<std::uint64_t>(event.begin.time_since_epoch().count()));
  return event.end == expected.end && event.bytes == expected.bytes && event.thread == expected.thread &&
         event.segment == expected.segment && event.kind == expected.kind;
}

std::vector<std::int64_t> numbers_of(const TraceEvents& found) {
  std::vector<std::int64_t> numbers;
  for (const TraceEvent& event : found.events) numbers.push_back(event.begin.time_since_epoch().count());
  return numbers;
}

TEST(TraceRingTest, EventsComeBackWholeAndInTheirOrder) {
  TraceRing ring(5);
  EXPECT_TRUE(ring.read().events.empty());
  for (std::uint64_t number = 1; number <= 4; ++number) ring.record(event_of(number));
  const TraceEvents found = ring.read();
  EXPECT_EQ(numbers_of(found), (std::vector<std::int64_t>{1, 2, 3, 4}));
  for (const TraceEvent& event : found.events) EXPECT_TRUE(is_whole(event));
  EXPECT_EQ(found.lost, 0U);
}

TEST(TraceRingTest, TheOldestAreWrittenOverAndCounted) {
  TraceRing ring(3);
  for (std::uint64_t number = 1; number <= 8; ++number) ring.record(event_of(number));
  const TraceEvents found = ring.read();
  EXPECT_EQ(numbers_of(found), (std::vector<std::int64_t>{6, 7, 8}));
  EXPECT_EQ(found.lost, 5U);
}

// In a ring as small as this one the writers lap each other all the time.
TEST(TraceRingTest, WhatIsReadWhileThreadsWriteIsWholeOrLeftOut) {
  constexpr std::uint64_t kEach = 20'000;
  constexpr std::uint64_t kWriters = 3;
  TraceRing ring(4);
  std::atomic<std::uint64_t> writing = kWriters;
  std::vector<std::thread> writers;
  for (std::uint64_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (std::uint64_t number = 1; number <= kEach; ++number) ring.record(event_of(writer * kEach + number));
      --writing;
    });
  }
  std::uint64_t torn = 0;
  while (writing > 0) {
    for (const TraceEvent& event : ring.read().events) torn += is_whole(event) ? 0U : 1U;
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(torn, 0U);
  const TraceEvents found = ring.read();
  EXPECT_LE(found.events.size(), 4U);
  EXPECT_EQ(found.events.size() + found.lost, kWriters * kEach);
}

TEST(TraceRingTest, APenWithoutARingNotesNothing) {
  TracePen pen(nullptr);
  pen.begin();
  pen.end(TraceKind::kReading, 0, 1);
}

TEST(TraceRingTest, WaitsThatWereNoneAreLeftOutAndOthersAreNot) {
  TraceRing ring(8);
  TracePen pen(&ring);
  pen.begin();
  const Clock::time_point end = Clock::now() + std::chrono::microseconds(50);
  while (Clock::now() < end) std::this_thread::yield();
  pen.end(TraceKind::kWaitingForSlot, 2);
  EXPECT_EQ(ring.read().events.size(), 1U);
  std::size_t kept = 0;
  for (int round = 0; round < 100; ++round) {  // a wait of nothing takes a microsecond where the thread is interrupted
    TraceRing other(1);
    TracePen second(&other);
    second.begin();
    second.end(TraceKind::kWaitingForArena, 2);
    kept += other.read().events.size();
  }
  EXPECT_LT(kept, 50U);
}

}  // namespace
}  // namespace warpload
