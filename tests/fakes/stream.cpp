#include "fakes/stream.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "fakes/capture.hpp"
#include "fakes/modelled.hpp"

namespace warpload::testing::fake {
namespace {

// Runs an operation's work, or fails it as asked. The lock is held on entry and on return, and not while it works.
void execute(State& state, Guard& guard, Stream& stream, Operation& operation) {
  guard.wait(state.changed, [&] { return !state.paused || state.discarding; });
  Context& context = *stream.context;
  if (!operation.work || state.discarding || context.broken != cuda::kSuccess) return;
  Result result = cuda::kSuccess;
  if (const auto failure = injected(state.execution_injections, kAnyExecution)) {
    result = *failure;
  } else {
    ++state.executing;
    guard.outside([&] { result = operation.work(); });
    --state.executing;
    state.changed.notify_all();
  }
  if (result == cuda::kSuccess) {
    ++state.counters.executed;
  } else if (context.broken == cuda::kSuccess) {
    context.broken = result;
  }
}

void run_front(State& state, Guard& guard, Stream& stream) {
  const std::shared_ptr<Operation> operation = stream.operations.front();
  if (operation->waits_for) wait_for_record(state, guard, operation->waits_for);
  operation->queued.observe(guard);
  const std::chrono::microseconds delay = state.options.delay;
  if (delay.count() > 0 && !state.discarding) guard.outside([&] { std::this_thread::sleep_for(delay); });
  execute(state, guard, stream, *operation);
  stream.progress.publish(guard);
  if (operation->completes) {
    operation->completes->edge.publish(guard);
    operation->completes->complete = true;
  }
  for (const auto& resource : operation->uses) --resource->queued;
  stream.operations.pop_front();
  ++stream.finished;
  state.changed.notify_all();
}

void run_stream(State& state, Stream& stream) {
  Guard guard(state.mutex);
  while (true) {
    guard.wait(state.changed, [&] { return !stream.operations.empty() || stream.ending; });
    if (stream.operations.empty()) return;
    run_front(state, guard, stream);
  }
}

}  // namespace

std::shared_ptr<Stream> start_stream(State& state, const std::shared_ptr<Context>& context) {
  auto stream = std::make_shared<Stream>();
  stream->context = context;
  if (state.options.model) return stream;
  stream->thread = std::thread([&state, &stream = *stream] { run_stream(state, stream); });
  return stream;
}

void enqueue(State& state, Guard& guard, Stream& stream, std::shared_ptr<Operation> operation) {
  if (is_captured(stream)) return;  // a part of a graph that nobody launches
  if (state.options.model) return schedule(state, stream, *operation);
  for (const auto& resource : operation->uses) ++resource->queued;
  operation->queued.publish(guard);
  stream.operations.push_back(std::move(operation));
  ++stream.enqueued;
  state.changed.notify_all();
}

std::size_t operations_without_a_handle(const State& state, const Context& context) {
  std::size_t queued = context.default_stream ? context.default_stream->operations.size() : 0;
  for (const auto& stream : state.ended_streams) {
    if (stream->context.get() == &context) queued += stream->operations.size();
  }
  return queued;
}

bool is_idle(const State& state, const Context& context) {
  return operations_without_a_handle(state, context) == 0 &&
         std::all_of(state.streams.begin(), state.streams.end(), [&](const auto& entry) {
           return entry.second->context.get() != &context || entry.second->operations.empty();
         });
}

Result wait_for_stream(State& state, Guard& guard, const std::shared_ptr<Stream>& stream) {
  if (state.options.model) {
    wait_until(guard, stream->due);
    return stream->context->broken;
  }
  const std::uint64_t target = stream->enqueued;
  guard.wait(state.changed, [&] { return stream->finished >= target; });
  stream->progress.observe(guard);
  return stream->context->broken;
}

void wait_for_record(State& state, Guard& guard, const std::shared_ptr<Record>& record) {
  if (state.options.model) return wait_until(guard, record->due);
  guard.wait(state.changed, [&] { return record->complete; });
  record->edge.observe(guard);
}

void end_stream(State& state, const std::shared_ptr<Stream>& stream) {
  stream->ending = true;
  state.ended_streams.push_back(stream);
  state.changed.notify_all();
}

void join_all_streams(State& state) {
  std::vector<std::shared_ptr<Stream>> ended;
  {
    const Guard guard(state.mutex);
    state.discarding = true;
    for (const auto& [handle, stream] : state.streams) end_stream(state, stream);
    state.streams.clear();
    for (const auto& [handle, context] : state.contexts) {
      if (context->default_stream) end_stream(state, std::exchange(context->default_stream, nullptr));
    }
    ended.swap(state.ended_streams);
  }
  for (const auto& stream : ended) {
    if (stream->thread.joinable()) stream->thread.join();
  }
}

}  // namespace warpload::testing::fake
