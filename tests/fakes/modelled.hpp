// The modelled mode (FakeModel): when work is done, by arithmetic instead of by threads.
//
//   stream 0   |== copy 0 ==|        |== copy 2 ==|
//   stream 1   .. waits ....|== copy 1 ==|             one thread queued them: 0, 1, 2
//   link       |============|============|============|
//
// A copy begins when its stream has come to it and the link is free, which serves copies in the order in which they
// were queued. All functions: the caller holds the lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "fakes/state.hpp"

namespace warpload::testing::fake {

// Keeps the calling thread, and with the lock the whole driver, busy for what a call costs.
void spend_on_call(const FakeModel& model, std::string_view name);

// Lets the calling thread wait for what a registration costs, with the lock released: other calls go on. It sleeps, as
// the core that a real driver would take for it is one of many on a machine with such a link.
void spend_on_registration(State& state, Guard& guard, std::uint64_t bytes);

// Says when an operation will be done, and with it what its stream has queued.
void schedule(State& state, Stream& stream, Operation& operation);

[[nodiscard]] bool is_due(TimePoint due);

// Sleeps, with the lock released.
void wait_until(Guard& guard, TimePoint due);

}  // namespace warpload::testing::fake
