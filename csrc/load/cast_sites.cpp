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

// What the table has for the key; else measures, without the lock, and notes the result unless another
// thread was first.
template <class Table, class Measure>
typename Table::mapped_type noted(std::mutex& mutex, Table& table, const typename Table::key_type& key,
                                  const Measure& measure) {
  {
    const std::lock_guard lock(mutex);
    if (const auto found = table.find(key); found != table.end()) return found->second;
  }
  const auto result = measure();
  const std::lock_guard lock(mutex);
  return table.try_emplace(key, result).first->second;
}

// Of one worker, for casts of that pair; the rest is the caller's to fill in.
CastRates measure_worker(DTypePair pair) {
  const std::vector<std::byte> from(kSampleBytes);
  std::vector<std::byte> to(kSampleBytes);
  const CastFunction cast = find_cast(pair.source, pair.destination);
  const std::size_t count = kSampleBytes * 8 / dtype_bits(pair.source);
  CastRates rates;
  rates.host_cast = best_rate(kSampleBytes, [&] { cast(from.data(), to.data(), count); });
  rates.host_copy = best_rate(kSampleBytes, [&] { std::memcpy(to.data(), from.data(), kSampleBytes); });
  rates.result_share = static_cast<double>(dtype_bits(pair.destination)) / dtype_bits(pair.source);
  return rates;
}

}  // namespace

bool device_is_faster(const CastRates& rates) noexcept {
  const double host = std::max(1 / (rates.workers * rates.host_cast), rates.result_share / rates.link);
  const double device = std::max(1 / (rates.workers * rates.host_copy), 1 / rates.link);
  return device < host;
}

bool CastSites::on_device(DeviceBackend& backend, DTypePair pair, const std::function<double()>& measure_link) {
  if (mode_ == DeviceCasts::kHost || !backend.can_cast(pair.source, pair.destination)) return false;
  const bool smaller = dtype_bits(pair.destination) < dtype_bits(pair.source);
  if (mode_ == DeviceCasts::kDevice || !smaller) return true;
  try {
    return device_was_faster({backend.id().kind, backend.id().ordinal}, pair, measure_link);
  } catch (const OutOfMemoryError&) {
    return false;
  }
}

bool CastSites::device_was_faster(const DeviceKey& device, DTypePair pair,
                                  const std::function<double()>& measure_link) {
  return noted(mutex_, faster_, {device, pair}, [&] {
    CastRates rates = measure_worker(pair);
    rates.link = link_of(device, measure_link);
    rates.workers = workers_;
    return device_is_faster(rates);
  });
}

double CastSites::link_of(const DeviceKey& device, const std::function<double()>& measure_link) {
  return noted(mutex_, links_, device, measure_link);
}

}  // namespace warpload
