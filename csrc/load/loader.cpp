#include "warpload/loader.hpp"

#include <algorithm>
#include <utility>

#include "base/process_owned.hpp"
#include "exec/task_group.hpp"
#include "load/load_setup.hpp"
#include "load/load_state.hpp"
#include "load/loader_resources.hpp"
#include "warpload/error.hpp"

namespace warpload {

struct Loader::State {
  explicit State(const LoaderOptions& options)
      : resources(owned_by_this_process(new LoaderResources(options))), preparations(resources->workers()) {}
  std::shared_ptr<LoaderResources> resources;
  TaskGroup preparations;
};

Loader::Loader(LoaderOptions options) : state_(owned_by_this_process(new State(options))) {}
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

unsigned Loader::threads() const noexcept { return state_->resources->options().threads; }

LoadHandle Loader::start_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const {
  std::vector<SegmentRequest> requests;  // filled afterwards: an initializer list would be copied
  requests.push_back({std::move(checkpoint), std::move(options)});
  return start(requests);
}

std::uint64_t Loader::arena_bytes_of_one(Checkpoint::Ptr checkpoint, SegmentOptions&& options) const {
  const SegmentRequest request{std::move(checkpoint), std::move(options)};
  return arena_bytes_of({&request, 1}, state_->resources->options().device);
}

LoadHandle Loader::start(const std::vector<SegmentRequest>& requests, const SegmentAllocator& allocate) const {
  auto state = std::make_unique<LoadHandle::State>(state_->resources, requests, allocate);
  state->start();
  return LoadHandle(std::move(state));
}

std::uint64_t Loader::arena_bytes(const std::vector<SegmentRequest>& requests) const {
  return arena_bytes_of(requests, state_->resources->options().device);
}

void Loader::prepare(const Device& device, std::uint64_t bytes) const {
  if (!device.through_slots()) return;
  LoaderResources& resources = *state_->resources;
  const LoaderOptions& options = resources.options();
  const std::uint64_t wanted = std::min(bytes, options.pinned_bytes);
  const std::uint64_t slots = std::max<std::uint64_t>((wanted + options.slot_bytes - 1) / options.slot_bytes, 1);
  TaskGroup& group = state_->preparations;
  const auto pin = [&resources, backend = device.backend(), bytes = slots * options.slot_bytes] {
    try {
      const auto pool = resources.pinned_pool(*backend);
      if (pool->bytes() < bytes) pool->grow(backend);
    } catch (const Error&) {  // a load that needs it will say so
    }
  };
  // One worker opens the device, which takes a while; the others stay free until there is something to share.
  group.run([&group, pin, slots, backend = device.backend()] {
    try {
      backend->open();
      for (std::uint64_t slot = 0; slot < slots; ++slot) group.run(pin);
    } catch (const Error&) {  // likewise
    }
  });
}

std::uint64_t Loader::release_pinned_memory() const { return state_->resources->release_pinned_memory(); }
std::uint64_t Loader::pinned_bytes() const { return state_->resources->pinned_bytes(); }
std::string Loader::pinning_failure() const { return state_->resources->pinning_failure(); }

}  // namespace warpload
