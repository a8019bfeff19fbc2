// Calls about streams and events.
#include "fakes/call.hpp"
#include "fakes/capture.hpp"
#include "fakes/modelled.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {
namespace {

// A live event, or null with the fault noted.
std::shared_ptr<Event> find_event(Call& call, EventHandle handle) {
  auto event = find(call.state.events, handle);
  if (!event) call.fault("there is no such event", cuda::kInvalidHandle);
  return event;
}

Result record(Call& call, EventHandle handle, StreamHandle stream_handle) {
  const auto event = find_event(call, handle);
  const auto stream = call.stream(stream_handle);
  if (!event || !stream) return cuda::kInvalidHandle;
  if (event->context != stream->context) {
    return call.fault("event and stream are of different contexts", cuda::kInvalidHandle);
  }
  event->last = std::make_shared<Record>();
  note_recording(stream, *event->last);
  auto operation = std::make_shared<Operation>();
  operation->completes = event->last;
  enqueue(call.state, call.guard, *stream, std::move(operation));
  return cuda::kSuccess;
}

Result wait_event(Call& call, StreamHandle stream_handle, EventHandle handle, unsigned flags) {
  const auto event = find_event(call, handle);
  const auto stream = call.stream(stream_handle);
  if (!event || !stream) return cuda::kInvalidHandle;
  if (flags != 0) return cuda::kInvalidValue;
  if (!event->last) return cuda::kSuccess;
  if (const auto refusal = note_waiting(stream, *event->last)) return *refusal;
  auto operation = std::make_shared<Operation>();
  operation->waits_for = event->last;
  enqueue(call.state, call.guard, *stream, std::move(operation));
  return cuda::kSuccess;
}

Result query(Call& call, EventHandle handle) {
  const auto event = find_event(call, handle);
  if (!event) return cuda::kInvalidHandle;
  if (event->context->broken != cuda::kSuccess) return event->context->broken;
  if (!event->last) return cuda::kSuccess;
  if (call.state.options.model) return is_due(event->last->due) ? cuda::kSuccess : cuda::kNotReady;
  if (const auto refusal = refuse_captured_event(*event->last)) return *refusal;
  if (!event->last->complete) return cuda::kNotReady;
  event->last->edge.observe(call.guard);
  return cuda::kSuccess;
}

Result synchronize(Call& call, EventHandle handle) {
  const auto event = find_event(call, handle);
  if (!event) return cuda::kInvalidHandle;
  const auto last = event->last;
  if (last) {
    if (const auto refusal = refuse_captured_event(*last)) return *refusal;
    wait_for_record(call.state, call.guard, last);
  }
  return event->context->broken;
}

}  // namespace
}  // namespace warpload::testing::fake

using namespace warpload::testing::fake;  // NOLINT: the calls are global, as a driver's are
namespace cuda = warpload::cuda;

extern "C" {

Result cuStreamCreate(StreamHandle* handle, unsigned flags) {
  return run_call("cuStreamCreate", Needs::kContext, {}, [&](Call& call) {
    if (handle == nullptr || (flags & ~cuda::kStreamNonBlocking) != 0) return cuda::kInvalidValue;
    *handle = call.state.make_handle<StreamHandle>();
    const auto stream = start_stream(call.state, call.context);
    stream->non_blocking = (flags & cuda::kStreamNonBlocking) != 0;
    call.state.streams.emplace(*handle, stream);
    return cuda::kSuccess;
  });
}

Result cuStreamDestroy_v2(StreamHandle handle) {
  return run_call("cuStreamDestroy_v2", Needs::kContextToFree, about(handle), [&](Call& call) {
    const auto stream = find(call.state.streams, handle);
    if (!stream) return call.fault("there is no such stream", cuda::kInvalidHandle);
    static_cast<void>(refuse_waiting_for(*stream));  // a capture that it is part of cannot end well
    call.state.streams.erase(handle);
    end_stream(call.state, stream);
    return cuda::kSuccess;
  });
}

Result cuStreamSynchronize(StreamHandle handle) {
  return run_call("cuStreamSynchronize", Needs::kContext, about(handle), [&](Call& call) {
    const auto stream = call.stream(handle);
    if (!stream) return cuda::kInvalidHandle;
    if (const auto refusal = refuse_waiting_for(*stream)) return *refusal;
    return wait_for_stream(call.state, call.guard, stream);
  });
}

Result cuStreamWaitEvent(StreamHandle stream, EventHandle event, unsigned flags) {
  return run_call("cuStreamWaitEvent", Needs::kContext, about(stream),
                  [&](Call& call) { return wait_event(call, stream, event, flags); });
}

Result cuEventCreate(EventHandle* handle, unsigned flags) {
  return run_call("cuEventCreate", Needs::kContext, {}, [&](Call& call) {
    constexpr unsigned kKnown = cuda::kEventBlockingSync | cuda::kEventDisableTiming;
    if (handle == nullptr || (flags & ~kKnown) != 0) return cuda::kInvalidValue;
    auto event = std::make_shared<Event>();
    event->context = call.context;
    *handle = call.state.make_handle<EventHandle>();
    call.state.events.emplace(*handle, event);
    return cuda::kSuccess;
  });
}

Result cuEventDestroy_v2(EventHandle handle) {
  return run_call("cuEventDestroy_v2", Needs::kContextToFree, about(handle), [&](Call& call) {
    if (!find_event(call, handle)) return cuda::kInvalidHandle;
    call.state.events.erase(handle);  // whoever waits holds the record itself
    return cuda::kSuccess;
  });
}

Result cuEventRecord(EventHandle event, StreamHandle stream) {
  return run_call("cuEventRecord", Needs::kContext, about(stream),
                  [&](Call& call) { return record(call, event, stream); });
}

Result cuEventQuery(EventHandle event) {
  return run_call("cuEventQuery", Needs::kContext, about(event), [&](Call& call) { return query(call, event); });
}

Result cuEventSynchronize(EventHandle event) {
  return run_call("cuEventSynchronize", Needs::kContext, about(event),
                  [&](Call& call) { return synchronize(call, event); });
}

}  // extern "C"
