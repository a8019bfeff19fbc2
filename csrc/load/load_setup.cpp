#include "load/load_setup.hpp"

#include <algorithm>
#include <array>
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

class Setup {
 public:
  Setup(LoaderResources& resources, std::span<const SegmentRequest> requests) noexcept
      : resources_(resources), requests_(requests) {}

  LoadSetup run(const SegmentAllocator& allocate) {
    for (const SegmentRequest& request : requests_) {
      if (!request.device) continue;
      const auto& backend = request.device->backend();
      if (std::find(backends_.begin(), backends_.end(), backend) == backends_.end()) backends_.push_back(backend);
    }
    plan(true);
    reserve(allocate);
    open_lanes();
    return std::move(setup_);
  }

 private:
  void plan(bool device_casts) {
    std::vector<Delivery> deliveries;
    for (const SegmentRequest& request : requests_) {
      Delivery delivery{.through_slots = request.device.has_value()};
      if (delivery.through_slots && device_casts) {
        delivery.device_casts = [this, backend = request.device->backend()](DType source, DType destination) {
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

  void reserve(const SegmentAllocator& allocate) {
    setup_.segments.resize(requests_.size());
    reserve_on_host();
    std::vector<SegmentSize> sizes;
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      const std::uint64_t bytes = setup_.plan.segments[index].arena_bytes;
      if (requests_[index].device && bytes != 0) sizes.push_back({index, bytes});
    }
    if (sizes.empty()) return;
    if (allocate) {
      adopt(sizes, allocate(sizes));
    } else {
      for (const auto& backend : backends_) allocate_own(sizes, *backend);
    }
  }

  void reserve_on_host() {
    std::vector<std::uint64_t> bytes;
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      bytes.push_back(requests_[index].device ? 0 : setup_.plan.segments[index].arena_bytes);
    }
    setup_.segments = reserve_host_arena(bytes);
  }

  void adopt(std::span<const SegmentSize> sizes, std::vector<AdoptedMemory> memory) {
    if (memory.size() != sizes.size())
      throw InvalidArgumentError({.reason = "the allocator returned too few segments"});
    for (std::size_t index = 0; index < sizes.size(); ++index) {
      if (reinterpret_cast<std::uintptr_t>(memory[index].data) % kTensorAlignment != 0 ||
          memory[index].data == nullptr) {
        throw InvalidArgumentError({.reason = "the memory of a segment does not begin at a multiple of 256 bytes"});
      }
      setup_.segments[sizes[index].segment] =
          std::make_shared<AdoptedSegment>(memory[index].data, sizes[index].bytes, std::move(memory[index].owner));
    }
  }

  void allocate_own(std::span<const SegmentSize> sizes, DeviceBackend& backend) {
    std::vector<std::uint64_t> bytes;
    std::vector<std::size_t> positions;
    for (const SegmentSize& size : sizes) {
      if (requests_[size.segment].device->backend().get() != &backend) continue;
      bytes.push_back(size.bytes);
      positions.push_back(size.segment);
    }
    auto segments = backend.allocate(bytes);
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
    for (const SegmentRequest& request : requests_) {
      setup_.lane_of.push_back(request.device ? lane_of(*request.device) : nullptr);
      if (request.device) setup_.lane_of.back()->wait_for_caller(request.stream);
    }
  }

  [[nodiscard]] DeviceLane* lane_of(const Device& device) const {
    const auto found = std::find(backends_.begin(), backends_.end(), device.backend());
    return setup_.lanes[static_cast<std::size_t>(found - backends_.begin())].get();
  }

  [[nodiscard]] unsigned stream_count() const noexcept { return std::min(resources_.options().threads, kMostStreams); }

  LoaderResources& resources_;
  std::span<const SegmentRequest> requests_;
  std::vector<std::shared_ptr<DeviceBackend>> backends_;
  std::vector<std::shared_ptr<Segment>> staging_;  // one a backend, or none
  LoadSetup setup_;
};

}  // namespace

LoadSetup set_up_load(LoaderResources& resources, std::span<const SegmentRequest> requests,
                      const SegmentAllocator& allocate) {
  return Setup(resources, requests).run(allocate);
}

}  // namespace warpload
