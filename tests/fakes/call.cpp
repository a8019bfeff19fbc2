#include "fakes/call.hpp"

#include <type_traits>

#include "fakes/capture.hpp"
#include "fakes/modelled.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {

// Each address is taken, so that the library does not link without every call.
#define WARPLOAD_CHECK(name, parameters)                                  \
  static_assert(std::is_same_v<decltype(&::name), Result(*) parameters>); \
  extern Result(*const name##_is_defined) parameters;                     \
  __attribute__((used)) Result(*const name##_is_defined) parameters = &::name;
WARPLOAD_CUDA_CALLS(WARPLOAD_CHECK)
#undef WARPLOAD_CHECK

Call::Call(const char* name, Needs needs, About subject) : state(fake::state()), guard(state.mutex), name_(name) {
  if (!state.options.model) state.journal.push_back({name_, std::this_thread::get_id(), subject.handle, subject.bytes});
  refusal = injected(state.call_injections, name_);
  if (!refusal) refusal = refuse(needs);
  if (!refusal) refusal = refuse_unsafe_call(state, name_);
  if (!refusal && context && state.options.model) spend_on_call(*state.options.model, name_);
}

std::optional<Result> Call::refuse(Needs needs) {
  if (needs == Needs::kNothing) return std::nullopt;
  if (!state.initialized) return cuda::kNotInitialized;
  if (needs == Needs::kDriver) return std::nullopt;
  const auto& stack = context_stack(state);
  if (!stack.empty()) context = find(state.contexts, stack.back());
  if (!context) return cuda::kInvalidContext;
  // The work of a broken context ends before anyone hears of it.
  if (context->broken != cuda::kSuccess) guard.wait(state.changed, [&] { return is_idle(state, *context); });
  if (needs == Needs::kContext && context->broken != cuda::kSuccess) return context->broken;
  return std::nullopt;
}

std::shared_ptr<Stream> Call::stream(StreamHandle handle) {
  auto found = find_stream(handle);
  if (found) stream_refusal = refuse_stream(state, *context, handle == nullptr ? nullptr : found.get());
  return stream_refusal ? nullptr : found;
}

std::shared_ptr<Stream> Call::find_stream(StreamHandle handle) {
  if (handle == nullptr) {
    if (!context->default_stream) context->default_stream = start_stream(state, context);
    return context->default_stream;
  }
  auto found = find(state.streams, handle);
  if (!found) {
    fault("there is no such stream", cuda::kInvalidHandle);
  } else if (found->context != context) {
    fault("the stream is not of the current context", cuda::kInvalidContext);
    found = nullptr;
  }
  return found;
}

}  // namespace warpload::testing::fake
