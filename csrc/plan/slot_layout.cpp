#include "plan/slot_layout.hpp"

#include <algorithm>

namespace warpload {
namespace {

// Takes `count` elements off the part's begin.
TensorPart split(TensorPart& part, std::uint64_t count) {
  TensorPart first = part;
  first.source.end = part.source.begin + count * part.source_bytes;
  part.source.begin = first.source.end;
  part.destination += count * part.result_bytes;
  return first;
}

}  // namespace

void SlotLayout::add(TensorPart part) {
  while (part.source.size() != 0) {
    if (kind_ != Kind::kImage) start_batch(Kind::kImage, part.destination);
    std::uint64_t slot_offset = part.destination - plan_.batches.back().destination_offset;
    if (slot_offset + part.result_bytes > room_) {
      start_batch(Kind::kImage, part.destination);
      slot_offset = 0;
    }
    const std::uint64_t room = (room_ - slot_offset) / part.result_bytes;
    write(split(part, std::min(room, part.source.size() / part.source_bytes)), slot_offset);
  }
}

void SlotLayout::add_for_device_cast(TensorPart part, DType source, DType destination) {
  while (part.source.size() != 0) {
    if (kind_ != Kind::kCasts) start_batch(Kind::kCasts, 0);
    const std::uint64_t slot_offset = align_up(plan_.batches.back().slot_bytes, kTensorAlignment);
    const std::uint64_t left = room_ - std::min(slot_offset, room_);
    // Cut at multiples of 256 elements, so that the next part is aligned on both sides.
    const std::uint64_t elements = part.source.size() / part.source_bytes;
    const std::uint64_t room = left / part.source_bytes;
    const std::uint64_t count = elements <= room ? elements : room / 256 * 256;
    if (count == 0) {
      start_batch(Kind::kCasts, 0);
      continue;
    }
    TensorPart first = split(part, count);
    plan_.casts.push_back({slot_offset, first.destination, count, source, destination});
    ++plan_.batches.back().cast_count;
    first.cast = nullptr;
    first.source_bytes = first.result_bytes = 1;  // as it is in the file
    write(first, slot_offset);
  }
}

Batch& SlotLayout::start_batch(Kind kind, std::uint64_t destination) {
  kind_ = kind;
  runs_.close();
  const bool first = plan_.batches.size() < limits_.ramp_batches;
  room_ = first ? std::min(limits_.ramp_bytes, limits_.slot_bytes) : limits_.slot_bytes;
  return plan_.batches.emplace_back(
      Batch{.first_run = plan_.runs.size(), .destination_offset = destination, .first_cast = plan_.casts.size()});
}

void SlotLayout::write(const TensorPart& part, std::uint64_t slot_offset) {
  Batch& batch = plan_.batches.back();
  TensorPart in_slot = part;
  in_slot.destination = slot_offset;
  runs_.add(in_slot);
  batch.run_count = plan_.runs.size() - batch.first_run;
  batch.slot_bytes = slot_offset + part.source.size() / part.source_bytes * part.result_bytes;
}

}  // namespace warpload
