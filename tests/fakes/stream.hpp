// The fake's streams: a queue and a thread each.
#pragma once

#include <memory>

#include "fakes/guard.hpp"
#include "fakes/state.hpp"

namespace warpload::testing::fake {

// A stream of `context` with its thread. Not in the tables yet.
std::shared_ptr<Stream> start_stream(State& state, const std::shared_ptr<Context>& context);

// Queues an operation; what it uses counts as in use until it has run. Where the stream is being captured it never
// does.
void enqueue(State& state, Guard& guard, Stream& stream, std::shared_ptr<Operation> operation);

// How much is queued in streams of the context that nobody holds a handle of: its default stream and those that were
// destroyed.
[[nodiscard]] std::size_t operations_without_a_handle(const State& state, const Context& context);

// True when nothing is queued or executes in any stream of the context.
[[nodiscard]] bool is_idle(const State& state, const Context& context);

// Waits until all that is queued now has run, and returns the context's state.
Result wait_for_stream(State& state, Guard& guard, const std::shared_ptr<Stream>& stream);

// Waits until `record` is complete.
void wait_for_record(State& state, Guard& guard, const std::shared_ptr<Record>& record);

// Lets the stream's thread end once its queue is empty. Does not wait for it.
void end_stream(State& state, const std::shared_ptr<Stream>& stream);

// Ends every stream, discards what is queued and joins the threads. Takes the lock itself.
void join_all_streams(State& state);

}  // namespace warpload::testing::fake
