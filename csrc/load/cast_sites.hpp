// Who casts: the workers while they fill the slots, or the device afterwards.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "device/backend.hpp"
#include "device/pinned_pool.hpp"
#include "warpload/load_options.hpp"

namespace warpload {

// Bytes a second.
struct CastRates {
  double host_cast = 0;  // of one worker, in bytes of the source
  double host_copy = 0;  // of one worker
  double link = 0;       // from a slot to the device
  double workers = 1;
  double result_share = 1;  // bytes of the result for one byte of the source
};

// True when the device's way ends earlier. Each way is as slow as its slower half: workers and link run side by side.
//
//   host    workers cast      -> the result crosses the link
//   device  workers only copy -> the source crosses the link (the cast itself is far faster than any link)
[[nodiscard]] bool device_is_faster(const CastRates& rates) noexcept;

// Decides by the mode, and measures each pair of dtypes once a device where it has to. Threads: any.
class CastSites {
 public:
  CastSites(DeviceCasts mode, unsigned workers) noexcept : mode_(mode), workers_(workers) {}

  // Throws DeviceError.
  [[nodiscard]] bool on_device(const std::shared_ptr<DeviceBackend>& backend, PinnedPool& pool, DType source,
                               DType destination);

 private:
  using Key = std::tuple<DeviceKind, int, DType, DType>;

  [[nodiscard]] double link_rate(const std::shared_ptr<DeviceBackend>& backend, PinnedPool& pool);

  DeviceCasts mode_;
  unsigned workers_;
  std::mutex mutex_;
  std::map<Key, bool> measured_;
  std::map<std::pair<DeviceKind, int>, double> links_;
};

}  // namespace warpload
