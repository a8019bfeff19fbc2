// What every call of the fake driver begins with, and the declarations of all of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "fakes/guard.hpp"
#include "fakes/state.hpp"

// From the one list of calls: a definition with other parameters does not compile, a missing one does not link
// (call.cpp names each).
#define WARPLOAD_DECLARE(name, parameters) \
  extern "C" __attribute__((visibility("default"))) ::warpload::cuda::Result name parameters;
WARPLOAD_CUDA_CALLS(WARPLOAD_DECLARE)
#undef WARPLOAD_DECLARE

namespace warpload::testing::fake {

enum class Needs {
  kNothing,
  kDriver,         // cuInit
  kContext,        // that, and a current context that is whole
  kContextToFree,  // that, but a broken context will do: the call does its work and returns the context's error
};

// What the journal says of a call.
struct About {
  std::uint64_t handle = 0;
  std::uint64_t bytes = 0;
};

template <typename Handle>
About about(Handle* handle, std::uint64_t bytes = 0) {
  return {reinterpret_cast<std::uintptr_t>(handle), bytes};
}

// One call in progress: holds the lock.
class Call {
 public:
  Call(const char* name, Needs needs, About subject);

  State& state;
  Guard guard;
  std::shared_ptr<Context> context;           // the current one, where the call needs one
  std::optional<Result> refusal;              // the call ends at once with this
  std::optional<Result> stream_refusal = {};  // why stream() gave none although there is no fault: the call's result

  // Notes misuse under the call's name.
  Result fault(const std::string& text, Result result) { return state.fault(name_ + ": " + text, result); }

  // A stream of the current context (null: its default stream), or null with the fault noted or a refusal set.
  std::shared_ptr<Stream> stream(StreamHandle handle);

 private:
  std::optional<Result> refuse(Needs needs);
  std::shared_ptr<Stream> find_stream(StreamHandle handle);

  std::string name_;
};

// Runs `body`, which gets the Call, unless the call is refused.
template <typename Body>
Result run_call(const char* name, Needs needs, About subject, Body body) {
  Call call(name, needs, subject);
  if (call.refusal) return *call.refusal;
  const Result result = body(call);
  if (call.stream_refusal) return *call.stream_refusal;
  return result == cuda::kSuccess && needs == Needs::kContextToFree ? call.context->broken : result;
}

}  // namespace warpload::testing::fake
