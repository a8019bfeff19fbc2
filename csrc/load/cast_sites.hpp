// Who casts: the workers while they fill the slots, or the device afterwards.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "device/backend.hpp"
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

  // `link_rate` measures the device's link, bytes a second; it is asked at most once a device, and may throw
  // OutOfMemoryError where there is no memory to measure with: then there is none for casts either. Throws DeviceError.
  [[nodiscard]] bool on_device(DeviceBackend& backend, DType source, DType destination,
                               const std::function<double()>& link_rate);

 private:
  using DeviceKey = std::pair<DeviceKind, int>;
  using Key = std::pair<DeviceKey, std::pair<DType, DType>>;

  [[nodiscard]] double link_of(const DeviceKey& device, const std::function<double()>& link_rate);

  DeviceCasts mode_;
  unsigned workers_;
  std::mutex mutex_;  // never held while anything is measured
  std::map<Key, bool> measured_;
  std::map<DeviceKey, double> links_;
};

}  // namespace warpload
