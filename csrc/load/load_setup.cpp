#include "load/load_setup.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "device/host_arena.hpp"
#include "load/tensor_choice.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

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

// How a request is to be filled, as long as the workers cast.
FillRules rules_of(bool in_arena, const Device& device) {
  const std::uint64_t own_alignment = device.through_slots() ? kDeviceSegmentAlignment : kSegmentAlignment;
  return {.through_slots = device.through_slots(),
          .may_map = !in_arena,
          .segment_alignment = in_arena ? kTensorAlignment : own_alignment};
}

using Segments = std::vector<std::shared_ptr<Segment>>;

// Wraps what the caller's allocator brought; nothing where it leaves the memory to the device.
std::shared_ptr<Segment> adopted(AdoptedMemory memory, std::uint64_t bytes) {
  if (memory.data == nullptr) return nullptr;
  if (reinterpret_cast<std::uintptr_t>(memory.data) % kTensorAlignment != 0) {
    throw InvalidArgumentError({.reason = "the memory of a segment does not begin at a multiple of 256 bytes"});
  }
  return std::make_shared<AdoptedSegment>(memory.data, bytes, std::move(memory.owner));
}

void adopt(std::span<const SegmentSize> sizes, std::vector<AdoptedMemory> memory, Segments& segments) {
  if (memory.size() != sizes.size()) {
    throw InvalidArgumentError({.reason = "the allocator returned " + std::to_string(memory.size()) + " segments for " +
                                          std::to_string(sizes.size())});
  }
  for (std::size_t index = 0; index < sizes.size(); ++index) {
    segments[sizes[index].segment] = adopted(std::move(memory[index]), sizes[index].bytes);
  }
}

// Reserves, all at once, what is still missing of the segments that are `ours`.
template <class Ours, class Reserve>
void reserve_where(Ours ours, std::span<const SegmentSize> sizes, Reserve reserve, Segments& segments) {
  std::vector<std::uint64_t> bytes;
  std::vector<std::size_t> positions;
  for (const SegmentSize& size : sizes) {
    if (segments[size.segment] || !ours(size.segment)) continue;
    bytes.push_back(size.bytes);
    positions.push_back(size.segment);
  }
  if (positions.empty()) return;
  Segments reserved = reserve(bytes);
  for (std::size_t index = 0; index < positions.size(); ++index) {
    segments[positions[index]] = std::move(reserved[index]);
  }
}

// Has what is sent from here on wait for the streams that the requests name; on one lane alone where it is given.
void wait_for_callers(std::span<const SegmentRequest> requests, std::span<DeviceLane* const> lane_of,
                      const DeviceLane* only = nullptr) {
  std::set<std::pair<DeviceLane*, void*>> waiting;
  for (std::size_t index = 0; index < requests.size(); ++index) {
    DeviceLane* const lane = lane_of[index];
    void* const stream = requests[index].options.stream;
    if (lane == nullptr || (only != nullptr && lane != only)) continue;
    if (waiting.emplace(lane, stream).second) lane->wait_for_caller(stream);
  }
}

}  // namespace

LoadSetup::LoadSetup(LoaderResources& resources, std::span<const SegmentRequest> requests,
                     const SegmentAllocator& allocate)
    : resources_(resources), requests_(requests), allocate_(allocate) {
  for (const SegmentRequest& request : requests_) {
    devices_.push_back(device_of(request.options, resources_.options().device));
  }
  open_lanes();
  for (std::size_t index = 0; index < requests_.size(); ++index) {
    if (DeviceLane* const lane = lanes_.lane_of[index]) lane->check_caller(requests_[index].options.stream);
  }
  choose_rules();
  decide_device_casts();
  make_plan();
  if (!plan_.casts.empty() && !reserve_staging()) {
    for (SegmentInput& input : inputs_) input.rules.device_casts.clear();
    make_plan();
  }
  pin_slots();
}

void LoadSetup::open_lanes() {
  const unsigned channels = std::min(resources_.options().threads, resources_.options().copy_streams);
  for (const Device& device : devices_) {
    DeviceLane*& lane = lanes_.lane_of.emplace_back(nullptr);
    if (!device.through_slots()) continue;
    const auto& backend = device.backend();
    const auto found = std::find_if(lanes_.lanes.begin(), lanes_.lanes.end(),
                                    [&](const auto& other) { return other->backend() == backend; });
    if (found != lanes_.lanes.end()) {
      lane = found->get();
      continue;
    }
    lanes_.lanes.push_back(std::make_unique<DeviceLane>(backend, resources_.pinned_pool(*backend),
                                                        resources_.copy_channels(*backend), channels));
    lane = lanes_.lanes.back().get();
  }
}

void LoadSetup::choose_rules() {
  for (std::size_t index = 0; index < requests_.size(); ++index) {
    const SegmentRequest& request = requests_[index];
    inputs_.push_back({choose_tensors(request), rules_of(request.options.arena.has_value(), devices_[index])});
  }
}

// Each pair of dtypes is asked about once a segment; whether it has been measured before is CastSites' own business.
void LoadSetup::decide_device_casts() {
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    SegmentInput& input = inputs_[index];
    if (!input.rules.through_slots) continue;
    DeviceCastTable asked;
    for (const ChosenTensor& tensor : input.tensors) {
      const DTypePair pair{tensor.info->dtype, tensor.dtype};
      if (tensor.cast == nullptr || !asked.insert(pair).second) continue;
      if (device_casts(*lanes_.lane_of[index], pair)) input.rules.device_casts.insert(pair);
    }
  }
}

bool LoadSetup::device_casts(DeviceLane& lane, DTypePair pair) {
  if (no_staging_.contains(&lane)) return false;
  return resources_.cast_sites().on_device(*lane.backend(), pair, [&] {
    try {
      ensure_staging(lane);
    } catch (const OutOfMemoryError&) {
      no_staging_.insert(&lane);  // nor will there be for the next pair
      throw;
    }
    return lane.measure_link();
  });
}

void LoadSetup::make_plan() {
  const LoaderOptions& options = resources_.options();
  const PlanLimits limits{.slot_bytes = options.slot_bytes - kBlockRoom, .ramp_batches = options.threads};
  plan_ = make_load_plan(inputs_, limits);
}

// Memory for casts on the devices; false when there is none to spare, so that the workers have to cast.
bool LoadSetup::reserve_staging() {
  try {
    for (const auto& lane : lanes_.lanes) ensure_staging(*lane);
  } catch (const OutOfMemoryError&) {
    return false;
  }
  return true;
}

void LoadSetup::ensure_staging(DeviceLane& lane) {
  const bool fresh = lane.ensure_staging([&](std::uint64_t bytes) { return allocate_staging(lane, bytes); });
  if (fresh) wait_for_callers(requests_, lanes_.lane_of, &lane);
}

// From where the arena will come from.
std::shared_ptr<Segment> LoadSetup::allocate_staging(const DeviceLane& lane, std::uint64_t bytes) {
  const auto request = std::find(lanes_.lane_of.begin(), lanes_.lane_of.end(), &lane) - lanes_.lane_of.begin();
  if (allocate_) {
    const SegmentSize size{static_cast<std::size_t>(request), bytes, lane.backend()->id(), true};
    Segments brought(requests_.size());
    adopt({&size, 1}, allocate_({&size, 1}), brought);
    if (brought[size.segment]) return brought[size.segment];
  }
  const std::array<std::uint64_t, 1> one{bytes};
  return lane.backend()->allocate(one)[0];
}

// The pinner works ahead of the workers.
void LoadSetup::pin_slots() {
  for (const auto& lane : lanes_.lanes) lane->pool().reserve(lane->backend(), plan_.batches.size());
}

// The caller's arenas first, then the caller's allocator, then our own memory for what is left.
Segments LoadSetup::reserve(const LoadPlan& plan, std::span<DeviceLane* const> lane_of) {
  Segments segments(requests_.size());
  std::vector<SegmentSize> sizes;
  for (std::size_t index = 0; index < requests_.size(); ++index) {
    const std::uint64_t bytes = plan.segments[index].arena_bytes;
    if (bytes == 0) continue;
    if (const auto& arena = requests_[index].options.arena) {
      segments[index] = arena_parts_.take(*arena, bytes);
    } else {
      sizes.push_back({.segment = index, .bytes = bytes, .device = devices_[index].id()});
    }
  }
  if (allocate_ && !sizes.empty()) adopt(sizes, allocate_(sizes), segments);
  reserve_where([&](std::size_t segment) { return lane_of[segment] == nullptr; }, sizes, reserve_host_arena, segments);
  for (std::size_t index = 0; index < requests_.size(); ++index) {
    if (lane_of[index] == nullptr) continue;
    reserve_where([&](std::size_t segment) { return lane_of[segment] == lane_of[index]; }, sizes,
                  [&](std::span<const std::uint64_t> bytes) { return lane_of[index]->backend()->allocate(bytes); },
                  segments);
  }
  wait_for_callers(requests_, lane_of);
  return segments;
}

std::uint64_t arena_bytes_of(std::span<const SegmentRequest> requests, const Device& device) {
  std::vector<SegmentInput> inputs;
  for (const SegmentRequest& request : requests) {
    inputs.push_back({choose_tensors(request), rules_of(true, device_of(request.options, device))});
  }
  return make_load_plan(inputs).arena_bytes;
}

}  // namespace warpload
