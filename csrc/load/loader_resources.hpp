// What the loads of one loader share.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "device/backend.hpp"
#include "device/pinned_pool.hpp"
#include "exec/thread_pool.hpp"
#include "load/cast_sites.hpp"
#include "load/copy_channels.hpp"
#include "load/view_populator.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

// Shared by a loader and its handles: it outlives the last load. Threads: any.
class LoaderResources {
 public:
  explicit LoaderResources(const LoaderOptions& options);

  // More workers than these are not started, whatever the options say.
  [[nodiscard]] static unsigned most_threads() noexcept;

  [[nodiscard]] const LoaderOptions& options() const noexcept { return options_; }
  [[nodiscard]] ThreadPool& workers() noexcept { return workers_; }
  [[nodiscard]] CastSites& cast_sites() noexcept { return cast_sites_; }
  [[nodiscard]] ViewPopulator& view_populator() noexcept { return view_populator_; }

  // The ring of slots of that device's pinning domain.
  [[nodiscard]] std::shared_ptr<PinnedPool> pinned_pool(const DeviceBackend& backend);

  // The idle channels of that device.
  [[nodiscard]] std::shared_ptr<CopyChannels> copy_channels(const DeviceBackend& backend);

  // Releases the slots that no load uses, and the idle channels with the device's memory that they hold. Returns the
  // bytes of the slots.
  std::uint64_t release_pinned_memory();
  [[nodiscard]] std::uint64_t pinned_bytes() const;
  [[nodiscard]] std::string pinning_failure() const;

 private:
  [[nodiscard]] std::vector<std::shared_ptr<PinnedPool>> pools() const;

  LoaderOptions options_;
  CastSites cast_sites_;
  mutable std::mutex mutex_;
  std::map<const void*, std::shared_ptr<PinnedPool>> pools_;
  std::map<std::pair<const void*, int>, std::shared_ptr<CopyChannels>> channels_;  // by pinning domain and ordinal
  ViewPopulator view_populator_;
  ThreadPool workers_;  // last: joined before what its tasks use goes
};

}  // namespace warpload
