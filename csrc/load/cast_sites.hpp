// Who casts: the workers while they fill the slots, or the device afterwards.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "device/backend.hpp"
#include "plan/plan_input.hpp"
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

// Decides by the mode, and measures where it has to: each pair of dtypes once a device, and each device's link once.
//
// Nothing is locked while anything is measured, so that a slow device holds up nobody else. Threads that ask at once
// may both measure; the first result stays. Threads: any.
class CastSites {
 public:
  CastSites(DeviceCasts mode, unsigned workers) noexcept : mode_(mode), workers_(workers) {}

  // True when the device is to make this cast, which is one that find_cast has. `measure_link` tells the bytes a second
  // of the device's link; it is called where that is not known yet, and may throw OutOfMemoryError where there is no
  // memory to measure with: then there is none for casts either, and the workers cast. Throws DeviceError.
  [[nodiscard]] bool on_device(DeviceBackend& backend, DTypePair pair, const std::function<double()>& measure_link);

 private:
  using DeviceKey = std::pair<DeviceKind, int>;

  // Both measure outside the lock what is not known.
  [[nodiscard]] bool device_was_faster(const DeviceKey& device, DTypePair pair,
                                       const std::function<double()>& measure_link);
  [[nodiscard]] double link_of(const DeviceKey& device, const std::function<double()>& measure_link);

  DeviceCasts mode_;
  unsigned workers_;
  std::mutex mutex_;  // of the two tables, and held only to look something up or to note it
  std::map<std::pair<DeviceKey, DTypePair>, bool> faster_;
  std::map<DeviceKey, double> links_;
};

}  // namespace warpload
