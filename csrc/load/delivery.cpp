#include "load/delivery.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "load/host_copy.hpp"
#include "warpload/arena.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// The padding before tensors goes to the device with them. A piece begins at most this far behind the one before.
void clear_padding(const LoadPlan& plan, const Batch& batch, std::byte* slot) {
  const ReadRun& last = plan.runs[batch.first_run + batch.run_count - 1];
  for (std::size_t index = plan.runs[batch.first_run].first_piece; index < last.first_piece + last.piece_count;
       ++index) {
    const std::uint64_t end = plan.pieces[index].destination_offset;
    const std::uint64_t begin = end - std::min(end, kTensorAlignment);
    std::memset(slot + begin, 0, end - begin);
  }
}

}  // namespace

struct Delivery::Tools {
  Tools(TraceRing* trace, DirectIo direct_io, LoadClock& clock)
      : pen(trace), copier(PlanLimits{}.run_bytes, direct_io, clock, pen) {}
  Tools(const Tools&) = delete;
  Tools& operator=(const Tools&) = delete;

  TracePen pen;
  HostCopier copier;
};

void Delivery::pump() {
  Tools tools(trace_, direct_io_, counters_.clock);
  while (!control_.stopping()) {
    const std::size_t batch = next_batch_.fetch_add(1, std::memory_order_relaxed);
    if (batch >= plan_.batches.size()) break;
    deliver(tools, plan_.batches[batch]);
  }
}

void Delivery::deliver(Tools& tools, const Batch& batch) {
  if (segments_.is_released(plan_.runs[batch.first_run].segment)) {
    note_arrival(batch.first_run, batch.run_count);
  } else if (batch.slot_bytes == 0) {
    deliver_directly(tools, batch);
  } else {
    deliver_through_slot(tools, batch);
  }
}

void Delivery::deliver_directly(Tools& tools, const Batch& batch) {
  if (!wait_for_arena(tools, plan_.runs[batch.first_run].segment)) return;
  for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
    if (control_.stopping()) return;
    const ReadRun& run = plan_.runs[index];
    tools.copier.copy(plan_, batch, index, *checkpoints_[run.segment], segments_.begin_of(run.segment));
    note_arrival(index, 1);
  }
}

void Delivery::deliver_through_slot(Tools& tools, const Batch& batch) {
  const std::size_t segment = plan_.runs[batch.first_run].segment;
  DeviceLane& lane = *lane_of_[segment];
  LoadClock::Lap lap(counters_.clock);
  tools.pen.begin();
  auto slot = lane.acquire([this] { return control_.stopping(); });
  lap.end(LoadClock::Part::kWaitingForSlots);
  tools.pen.end(TraceKind::kWaitingForSlot, segment);
  if (!slot) return;
  const auto lead = tools.copier.read_straight(plan_, batch, *checkpoints_[segment], slot->bytes());
  if (!lead) {
    clear_padding(plan_, batch, slot->bytes().data());
    for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
      if (control_.stopping()) return;
      tools.copier.copy(plan_, batch, index, *checkpoints_[segment], slot->bytes().data());
    }
  }
  lap.end(LoadClock::Part::kReading);
  if (!wait_for_arena(tools, segment)) return;
  lap.end(LoadClock::Part::kWaitingForArena);
  try {
    lane.send(std::move(*slot), lead.value_or(0), plan_, batch, segments_.begin_of(segment));
  } catch (const DeviceError& error) {
    rethrow_with_tensor(error, *checkpoints_[segment], plan_.runs[batch.first_run]);
  }
  lap.end(LoadClock::Part::kSending);
  tools.pen.end(TraceKind::kSending, segment, batch.slot_bytes);
  note_arrival(batch.first_run, batch.run_count);
}

bool Delivery::wait_for_arena(Tools& tools, std::size_t segment) const {
  tools.pen.begin();
  const bool there = segments_.wait_for_arena([this] { return control_.stopped(); });
  tools.pen.end(TraceKind::kWaitingForArena, segment);
  return there;
}

void Delivery::note_arrival(std::size_t first_run, std::size_t run_count) {
  std::uint64_t bytes = 0;
  for (std::size_t index = first_run; index < first_run + run_count; ++index) bytes += plan_.runs[index].source.size();
  const std::size_t segment = plan_.runs[first_run].segment;
  counters_.arrived(segment, bytes);  // first: whoever is woken finds them counted
  segments_.arrived(segment, run_count);
}

}  // namespace warpload
