#include "warpload/loader.hpp"

#include <sys/types.h>
#include <unistd.h>

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
  // A child after fork has none of the threads, and may find a lock held for good.
  void check_process() const {
    if (owner == ::getpid()) return;
    throw InvalidArgumentError(
        {.reason = "the loader belongs to the process that made it; this one is its child by fork",
         .cure = "make a loader in the child"});
  }

  const pid_t owner = ::getpid();
  std::shared_ptr<LoaderResources> resources;
  TaskGroup preparations;
};

Loader::Loader(LoaderOptions options) : state_(owned_by_this_process(new State(options))) {}
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

unsigned Loader::most_threads() noexcept { return LoaderResources::most_threads(); }
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
  state_->check_process();
  LoadSetup setup(*state_->resources, requests, allocate);  // outlives the workers where reserving fails
  auto state = std::make_unique<LoadHandle::State>(state_->resources, requests, setup);
  state->start(setup);
  return LoadHandle(std::move(state));
}

std::uint64_t Loader::arena_bytes(const std::vector<SegmentRequest>& requests) const {
  return arena_bytes_of(requests, state_->resources->options().device);
}

void Loader::prepare(const Device& device, std::uint64_t bytes) const {
  state_->check_process();
  if (!device.through_slots()) return;
  LoaderResources& resources = *state_->resources;
  // One worker opens the device, which takes a while; pinning is the pool's own business.
  state_->preparations.run([&resources, bytes, backend = device.backend()] {
    try {
      backend->open();
      const std::uint64_t slot_bytes = resources.options().slot_bytes;
      resources.pinned_pool(*backend)->reserve(backend, bytes / slot_bytes + 1);
    } catch (const Error&) {  // a load that needs it will say so
    }
  });
}

std::uint64_t Loader::release_pinned_memory() const {
  state_->check_process();
  return state_->resources->release_pinned_memory();
}

std::uint64_t Loader::pinned_bytes() const {
  state_->check_process();
  return state_->resources->pinned_bytes();
}

std::string Loader::pinning_failure() const {
  state_->check_process();
  return state_->resources->pinning_failure();
}

}  // namespace warpload
