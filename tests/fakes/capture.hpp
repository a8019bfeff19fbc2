// Stream capture: what may not be called while one is under way, and which streams take part. All functions: the caller
// holds the lock.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <thread>

#include "fakes/fake_capture.hpp"
#include "fakes/state.hpp"

namespace warpload::testing::fake {

// From its begin to its end, in one stream and in those that have waited for its events.
struct Capture {
  Stream* origin = nullptr;
  std::thread::id thread;
  CaptureMode mode = CaptureMode::kGlobal;
  bool broken = false;
  std::set<Stream*> forked = {};  // that the origin has not waited for since
};

// The calling thread's mode.
CaptureMode capture_mode(const State& state);

// The result of a call that the captures under way forbid the calling thread, or nothing; those are broken then.
std::optional<Result> refuse_unsafe_call(State& state, std::string_view name);

// The same for one that is unsafe by what it is asked for.
std::optional<Result> refuse_unsafe(State& state);

// The same for a use of a stream; null is the default stream of `context`.
std::optional<Result> refuse_stream(State& state, const Context& context, const Stream* stream);

// Whether a stream of the context that the default stream waits for is being captured.
bool blocks_default_stream(const State& state, const Context& context);

// True where what is queued in the stream goes into a graph instead.
bool is_captured(Stream& stream);

// The host waits for a stream, or ends it.
std::optional<Result> refuse_waiting_for(const Stream& stream);

// A stream records or waits for an event; the result is the call's where it is refused.
void note_recording(const std::shared_ptr<Stream>& stream, Record& record);
std::optional<Result> note_waiting(const std::shared_ptr<Stream>& stream, const Record& record);

// The host asks for or waits for an event.
std::optional<Result> refuse_captured_event(const Record& record);

}  // namespace warpload::testing::fake
