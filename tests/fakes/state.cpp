#include "fakes/state.hpp"

#include <utility>

namespace warpload::testing::fake {

State& state() {
  static State& instance = *new State;
  return instance;
}

Result State::fault(std::string text, Result result) {
  faults.push_back(std::move(text));
  return result;
}

std::optional<Result> injected(std::vector<Injection>& injections, std::string_view name) {
  std::optional<Result> result;
  for (Injection& injection : injections) {
    if (injection.name != name) continue;
    if (injection.countdown > 0) --injection.countdown;
    const bool due = injection.countdown == 0;
    if (due && !result) result = injection.result;
    if (due && injection.span == FailureSpan::kOnce) injection.name.clear();  // spent
  }
  return result;
}

std::vector<ContextHandle>& context_stack(const State& state) {
  struct Stack {
    std::uint64_t generation = 0;
    std::vector<ContextHandle> contexts;
  };
  thread_local Stack stack;
  if (stack.generation != state.generation) stack = {state.generation, {}};
  return stack.contexts;
}

}  // namespace warpload::testing::fake
