#include "load/loader_resources.hpp"

#include <algorithm>

namespace warpload {
namespace {

// Memory bandwidth is spent long before; more workers only fight over it.
constexpr unsigned kMostDefaultThreads = 32;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;

LoaderOptions checked(LoaderOptions options) {
  if (options.threads == 0) options.threads = std::min(ThreadPool::usable_processors(), kMostDefaultThreads);
  if (options.slot_bytes == 0 || options.slot_bytes % kHugePage != 0) {
    throw InvalidArgumentError(
        {.reason = "slot_bytes is " + std::to_string(options.slot_bytes) + ", not a multiple of 2 MiB"});
  }
  return options;
}

}  // namespace

LoaderResources::LoaderResources(const LoaderOptions& options)
    : options_(checked(options)), cast_sites_(options_.device_casts, options_.threads), workers_(options_.threads) {}

std::shared_ptr<PinnedPool> LoaderResources::pinned_pool(const DeviceBackend& backend) {
  const std::lock_guard lock(mutex_);
  auto& pool = pools_[backend.pinning_domain()];
  if (!pool) {
    pool = std::make_shared<PinnedPool>(
        PinnedPoolOptions{.limit_bytes = options_.pinned_bytes, .slot_bytes = options_.slot_bytes});
  }
  return pool;
}

std::uint64_t LoaderResources::release_pinned_memory() {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [domain, pool] : pools_) bytes += pool->release_unused();
  return bytes;
}

std::uint64_t LoaderResources::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [domain, pool] : pools_) bytes += pool->pinned_bytes();
  return bytes;
}

std::string LoaderResources::pinning_failure() const {
  const std::lock_guard lock(mutex_);
  for (const auto& [domain, pool] : pools_) {
    if (std::string failure = pool->pinning_failure(); !failure.empty()) return failure;
  }
  return {};
}

}  // namespace warpload
