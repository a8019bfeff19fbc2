// Cuts one segment's tensors into what fits into a slot; load_plan.hpp has the picture.
#pragma once

#include <cstdint>

#include "plan/load_plan.hpp"
#include "plan/run_writer.hpp"

namespace warpload {

// Writes the batches of one segment, in arena order.
class SlotLayout {
 public:
  SlotLayout(LoadPlan& plan, const PlanLimits& limits, RunWriter& runs) noexcept
      : plan_(plan), limits_(limits), runs_(runs) {}

  // A part whose final bytes pass through the slots.
  void add(TensorPart part);

  // A part whose bytes pass as they are in the file, for the device to cast.
  void add_for_device_cast(TensorPart part, DType source, DType destination);

 private:
  enum class Kind : std::uint8_t { kNone, kImage, kCasts };  // what the last batch's slot holds

  Batch& start_batch(Kind kind, std::uint64_t destination);
  void write(const TensorPart& part, std::uint64_t slot_offset);

  LoadPlan& plan_;
  const PlanLimits& limits_;
  RunWriter& runs_;
  Kind kind_ = Kind::kNone;
  std::uint64_t room_ = 0;  // of the last batch's slot
};

}  // namespace warpload
