#include "fakes/modelled.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace warpload::testing::fake {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

nanoseconds cost_of(const FakeModel& model, std::string_view name) {
  if (name == "cuEventQuery") return model.event_query;
  if (name == "cuMemAlloc_v2" || name == "cuMemFree_v2") return model.allocation;
  return model.call;
}

nanoseconds on_the_link(const FakeModel& model, std::uint64_t bytes) {
  return nanoseconds(static_cast<std::int64_t>(static_cast<double>(bytes) / model.link_gbps));  // a GB/s: a byte a ns
}

void copy_over_the_link(State& state, Stream& stream, std::uint64_t bytes) {
  const FakeModel& model = *state.options.model;
  const TimePoint begin = std::max(stream.due, state.link_free);
  const nanoseconds taken = on_the_link(model, bytes);
  stream.due = begin + taken;
  state.link_free = stream.due + model.copy_gap;
  if (state.link.bytes == 0) state.link.begin = begin;
  state.link.end = stream.due;
  state.link.busy += taken;
  state.link.bytes += bytes;
}

}  // namespace

void spend_on_call(const FakeModel& model, std::string_view name) {
  const TimePoint end = Clock::now() + cost_of(model, name);
  while (Clock::now() < end) {
  }
}

void spend_on_registration(State& state, Guard& guard, std::uint64_t bytes) {
  const nanoseconds cost = state.options.model->pinning_per_mib * static_cast<std::int64_t>(bytes) / (1 << 20);
  state.link.pinning += cost;
  guard.outside([&] {
    const std::lock_guard one_at_a_time(state.registration);
    std::this_thread::sleep_for(cost);
  });
}

void schedule(State& state, Stream& stream, Operation& operation) {
  stream.due = std::max(stream.due, Clock::now());
  if (operation.waits_for) stream.due = std::max(stream.due, operation.waits_for->due);
  if (operation.link_bytes > 0) copy_over_the_link(state, stream, operation.link_bytes);
  if (operation.completes) operation.completes->due = stream.due;
}

bool is_due(TimePoint due) { return Clock::now() >= due; }

void wait_until(Guard& guard, TimePoint due) {
  guard.outside([due] { std::this_thread::sleep_until(due); });
}

}  // namespace warpload::testing::fake
