#include "load/loader_resources.hpp"

#include <algorithm>

namespace warpload {
namespace {

// Memory bandwidth is spent long before; more workers only fight over it.
constexpr unsigned kMostDefaultThreads = 32;
// Workers that wait for a slow disk or network leave their processors to others; but no more than so many a processor.
constexpr unsigned kThreadsPerProcessor = 4;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
// A slot for each worker to fill, and a few that are being copied meanwhile: more only take longer to pin.
constexpr std::uint64_t kSpareSlots = 4;

LoaderOptions checked(LoaderOptions options) {
  if (options.threads == 0) options.threads = std::min(ThreadPool::usable_processors(), kMostDefaultThreads);
  options.threads = std::min(options.threads, LoaderResources::most_threads());
  if (options.copy_streams == 0) throw InvalidArgumentError({.reason = "copy_streams is 0, not at least 1"});
  if (options.slot_bytes == 0 || options.slot_bytes % kHugePage != 0) {
    throw InvalidArgumentError(
        {.reason = "slot_bytes is " + std::to_string(options.slot_bytes) + ", not a multiple of 2 MiB"});
  }
  return options;
}

}  // namespace

unsigned LoaderResources::most_threads() noexcept {
  return std::max(kThreadsPerProcessor * ThreadPool::usable_processors(), kMostDefaultThreads);
}

LoaderResources::LoaderResources(const LoaderOptions& options)
    : options_(checked(options)), cast_sites_(options_.device_casts, options_.threads), workers_(options_.threads) {}

std::shared_ptr<PinnedPool> LoaderResources::pinned_pool(const DeviceBackend& backend) {
  const std::lock_guard lock(mutex_);
  auto& pool = pools_[backend.pinning_domain()];
  if (!pool) {
    pool = std::make_shared<PinnedPool>(PinnedPoolOptions{.limit_bytes = options_.pinned_bytes,
                                                          .slot_bytes = options_.slot_bytes,
                                                          .most_slots = options_.threads + kSpareSlots});
  }
  return pool;
}

std::shared_ptr<CopyChannels> LoaderResources::copy_channels(const DeviceBackend& backend) {
  const std::lock_guard lock(mutex_);
  auto& channels = channels_[{backend.pinning_domain(), backend.id().ordinal}];
  if (!channels) channels = std::make_shared<CopyChannels>(options_.copy_streams);
  return channels;
}

std::uint64_t LoaderResources::release_pinned_memory() {
  std::vector<std::shared_ptr<CopyChannels>> channels;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [device, idle] : channels_) channels.push_back(idle);
  }
  for (const auto& idle : channels) idle->release_unused();
  std::uint64_t bytes = 0;
  for (const auto& pool : pools()) bytes += pool->release_unused();
  return bytes;
}

std::uint64_t LoaderResources::pinned_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& pool : pools()) bytes += pool->pinned_bytes();
  return bytes;
}

std::string LoaderResources::pinning_failure() const {
  for (const auto& pool : pools()) {
    if (std::string failure = pool->pinning_failure(); !failure.empty()) return failure;
  }
  return {};
}

// A copy of the list: what is asked of a pool may take long.
std::vector<std::shared_ptr<PinnedPool>> LoaderResources::pools() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<PinnedPool>> pools;
  for (const auto& [domain, pool] : pools_) pools.push_back(pool);
  return pools;
}

}  // namespace warpload
