#include "load/load_setup.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "device/host_arena.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// One DMA engine serves them all; several keep it busy while a slot's casts run.
constexpr unsigned kMostStreams = 4;

// What a read past the page cache may bring along at either end of a slot's bytes.
constexpr std::uint64_t kBlockRoom = 2 * 4096;

Device device_of(const SegmentOptions& options, const Device& device) {
  if (!options.arena) return options.device.value_or(device);
  if (options.device && options.device->id() != options.arena->device().id()) {
    throw InvalidArgumentError({.reason = "the arena is on " + options.arena->device().name() + ", the request names " +
                                          options.device->name()});
  }
  return options.arena->device();
}

// How a request is to be filled, as long as the host casts.
Delivery delivery_of(bool in_arena, const Device& device) {
  const std::uint64_t own_alignment = device.through_slots() ? kDeviceSegmentAlignment : kSegmentAlignment;
  return {.through_slots = device.through_slots(),
          .may_map = !in_arena,
          .segment_alignment = in_arena ? kTensorAlignment : own_alignment};
}

class Setup {
 public:
  Setup(LoaderResources& resources, std::span<const SegmentRequest> requests)
      : resources_(resources), requests_(requests) {
    for (const SegmentRequest& request : requests_) {
      devices_.push_back(device_of(request.options, resources_.options().device));
      const auto& backend = devices_.back().backend();
      if (!devices_.back().through_slots()) continue;
      if (std::find(backends_.begin(), backends_.end(), backend) == backends_.end()) backends_.push_back(backend);
    }
  }

  LoadSetup run(const SegmentAllocator& allocate) {
    plan(true);
    reserve(allocate);
    open_lanes();
    return std::move(setup_);
  }

 private:
  void plan(bool device_casts) {
    std::vector<Delivery> deliveries;
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      Delivery delivery = delivery_of(requests_[index].options.arena.has_value(), devices_[index]);
      if (delivery.through_slots && device_casts) {
        delivery.device_casts = [this, backend = devices_[index].backend()](DType source, DType destination) {
          return resources_.cast_sites().on_device(backend, *resources_.pinned_pool(*backend), source, destination);
        };
      }
      deliveries.push_back(std::move(delivery));
    }
    const LoaderOptions& options = resources_.options();
    const PlanLimits limits{.slot_bytes = options.slot_bytes - kBlockRoom, .ramp_batches = options.threads};
    setup_.plan = make_load_plan(requests_, limits, deliveries);
    if (!setup_.plan.casts.empty() && !reserve_staging()) plan(false);
  }

  // Memory for casts on the devices; false when there is none to spare, so that the workers have to cast.
  bool reserve_staging() {
    const std::array<std::uint64_t, 1> bytes{stream_count() * resources_.options().slot_bytes};
    try {
      for (const auto& backend : backends_) staging_.push_back(backend->allocate(bytes)[0]);
    } catch (const OutOfMemoryError&) {
      staging_.clear();
      return false;
    }
    return true;
  }

  // The caller's arenas first, then the caller's allocator, then our own memory for what is left.
  void reserve(const SegmentAllocator& allocate) {
    setup_.segments.resize(requests_.size());
    std::vector<SegmentSize> sizes;
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      const std::uint64_t bytes = setup_.plan.segments[index].arena_bytes;
      if (bytes == 0) continue;
      if (const auto& arena = requests_[index].options.arena) {
        setup_.segments[index] = setup_.arena_parts.take(*arena, bytes);
      } else {
        sizes.push_back({.segment = index, .bytes = bytes, .device = devices_[index].id()});
      }
    }
    if (sizes.empty()) return;
    if (allocate) adopt(sizes, allocate(sizes));
    reserve_on_host(sizes);
    for (const auto& backend : backends_) reserve_on_device(sizes, *backend);
  }

  void adopt(std::span<const SegmentSize> sizes, std::vector<AdoptedMemory> memory) {
    if (memory.size() != sizes.size()) {
      throw InvalidArgumentError({.reason = "the allocator returned " + std::to_string(memory.size()) +
                                            " segments for " + std::to_string(sizes.size())});
    }
    for (std::size_t index = 0; index < sizes.size(); ++index) {
      if (memory[index].data == nullptr) continue;
      if (reinterpret_cast<std::uintptr_t>(memory[index].data) % kTensorAlignment != 0) {
        throw InvalidArgumentError({.reason = "the memory of a segment does not begin at a multiple of 256 bytes"});
      }
      setup_.segments[sizes[index].segment] =
          std::make_shared<AdoptedSegment>(memory[index].data, sizes[index].bytes, std::move(memory[index].owner));
    }
  }

  void reserve_on_host(std::span<const SegmentSize> sizes) {
    reserve_where([this](std::size_t segment) { return !devices_[segment].through_slots(); }, sizes,
                  [](std::span<const std::uint64_t> bytes) { return reserve_host_arena(bytes); });
  }

  void reserve_on_device(std::span<const SegmentSize> sizes, DeviceBackend& backend) {
    reserve_where([&](std::size_t segment) { return devices_[segment].backend().get() == &backend; }, sizes,
                  [&](std::span<const std::uint64_t> bytes) { return backend.allocate(bytes); });
  }

  // Reserves, all at once, what is still missing of the segments that are `ours`.
  template <class Ours, class Reserve>
  void reserve_where(Ours ours, std::span<const SegmentSize> sizes, Reserve reserve) {
    std::vector<std::uint64_t> bytes;
    std::vector<std::size_t> positions;
    for (const SegmentSize& size : sizes) {
      if (setup_.segments[size.segment] || !ours(size.segment)) continue;
      bytes.push_back(size.bytes);
      positions.push_back(size.segment);
    }
    if (positions.empty()) return;
    std::vector<std::shared_ptr<Segment>> segments = reserve(bytes);
    for (std::size_t index = 0; index < positions.size(); ++index) {
      setup_.segments[positions[index]] = std::move(segments[index]);
    }
  }

  void open_lanes() {
    for (std::size_t index = 0; index < backends_.size(); ++index) {
      auto staging = staging_.empty() ? nullptr : std::move(staging_[index]);
      setup_.lanes.push_back(std::make_unique<DeviceLane>(backends_[index], resources_.pinned_pool(*backends_[index]),
                                                          stream_count(), std::move(staging)));
    }
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      setup_.lane_of.push_back(lane_of(devices_[index]));
      if (DeviceLane* lane = setup_.lane_of.back()) lane->wait_for_caller(requests_[index].options.stream);
    }
  }

  // Null on the host.
  [[nodiscard]] DeviceLane* lane_of(const Device& device) const {
    const auto found = std::find(backends_.begin(), backends_.end(), device.backend());
    return found == backends_.end() ? nullptr : setup_.lanes[static_cast<std::size_t>(found - backends_.begin())].get();
  }

  [[nodiscard]] unsigned stream_count() const noexcept { return std::min(resources_.options().threads, kMostStreams); }

  LoaderResources& resources_;
  std::span<const SegmentRequest> requests_;
  std::vector<Device> devices_;                           // one a request
  std::vector<std::shared_ptr<DeviceBackend>> backends_;  // of those that slots go to
  std::vector<std::shared_ptr<Segment>> staging_;         // one a backend, or none
  LoadSetup setup_;
};

}  // namespace

ArenaParts::~ArenaParts() {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) part->arena.give_back(part->begin, part->bytes);
}

std::shared_ptr<Segment> ArenaParts::take(const Arena& arena, std::uint64_t bytes) {
  parts_.reserve(parts_.size() + 1);
  auto owner = std::make_shared<Arena>(arena);
  std::byte* const begin = arena.take(bytes);
  parts_.push_back({arena, begin, bytes});
  return std::make_shared<AdoptedSegment>(begin, bytes, std::move(owner));
}

std::uint64_t arena_bytes_of(std::span<const SegmentRequest> requests, const Device& device) {
  std::vector<Delivery> deliveries;
  for (const SegmentRequest& request : requests) {
    deliveries.push_back(delivery_of(true, device_of(request.options, device)));
  }
  return make_load_plan(requests, {}, deliveries).arena_bytes;
}

LoadSetup set_up_load(LoaderResources& resources, std::span<const SegmentRequest> requests,
                      const SegmentAllocator& allocate) {
  return Setup(resources, requests).run(allocate);
}

}  // namespace warpload
