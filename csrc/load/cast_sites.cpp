#include "load/cast_sites.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "convert/cast.hpp"
#include "load/best_rate.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::size_t kSampleBytes = std::size_t{1} << 20;

}  // namespace

bool device_is_faster(const CastRates& rates) noexcept {
  const double host = std::max(1 / (rates.workers * rates.host_cast), rates.result_share / rates.link);
  const double device = std::max(1 / (rates.workers * rates.host_copy), 1 / rates.link);
  return device < host;
}

bool CastSites::on_device(DeviceBackend& backend, DType source, DType destination,
                          const std::function<double()>& link_rate) {
  if (mode_ == DeviceCasts::kHost || !backend.can_cast(source, destination)) return false;
  const bool smaller = dtype_bits(destination) < dtype_bits(source);
  if (mode_ == DeviceCasts::kDevice || !smaller) return true;
  const DeviceKey device{backend.id().kind, backend.id().ordinal};
  const Key key{device, {source, destination}};
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = measured_.find(key); found != measured_.end()) return found->second;
  }
  const std::vector<std::byte> from(kSampleBytes);
  std::vector<std::byte> to(kSampleBytes);
  const CastFunction cast = find_cast(source, destination);
  const std::size_t count = kSampleBytes * 8 / dtype_bits(source);
  CastRates rates;
  rates.host_cast = best_rate(kSampleBytes, [&] { cast(from.data(), to.data(), count); });
  rates.host_copy = best_rate(kSampleBytes, [&] { std::memcpy(to.data(), from.data(), kSampleBytes); });
  try {
    rates.link = link_of(device, link_rate);
  } catch (const OutOfMemoryError&) {
    return false;
  }
  rates.workers = workers_;
  rates.result_share = static_cast<double>(dtype_bits(destination)) / dtype_bits(source);
  const std::lock_guard lock(mutex_);
  return measured_.try_emplace(key, device_is_faster(rates)).first->second;
}

double CastSites::link_of(const DeviceKey& device, const std::function<double()>& link_rate) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = links_.find(device); found != links_.end()) return found->second;
  }
  const double rate = link_rate();
  const std::lock_guard lock(mutex_);
  return links_.try_emplace(device, rate).first->second;
}

}  // namespace warpload
