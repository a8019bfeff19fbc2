// What a plan is made from: plain data, decided before. Nothing is asked while the plan is made.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "convert/cast.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/dtype.hpp"

namespace warpload {

inline constexpr std::uint64_t kSegmentAlignment = std::uint64_t{2} << 20;  // a huge page
inline constexpr std::uint64_t kDeviceSegmentAlignment = 512;               // to which torch's allocator rounds as well

// A tensor that is to be loaded, and as what.
struct ChosenTensor {
  std::size_t position = 0;          // in the checkpoint's tensors()
  const TensorInfo* info = nullptr;  // of the checkpoint, which has to outlive this
  DType dtype = DType::u8;           // of the result
  CastFunction cast = nullptr;       // set where the file has another dtype
  std::uint64_t source_bytes = 1;    // where it is cast: of what cannot be divided, an element or a block, in the file
  std::uint64_t result_bytes = 1;    // and of the same in the result
  bool may_be_view = false;          // not cast, in a file and aligned there, and the request takes views
};

// What some of a segment's tensors are cast from, and to what.
struct DTypePair {
  DType source = DType::u8;
  DType destination = DType::u8;

  friend constexpr auto operator<=>(const DTypePair&, const DTypePair&) = default;
};

// Pairs that the device casts; the workers cast all others.
using DeviceCastTable = std::set<DTypePair>;

// How one segment is filled.
struct FillRules {
  bool through_slots = false;
  bool may_map = true;  // tensors may be views; not where they have to lie in the segment
  std::uint64_t segment_alignment = kSegmentAlignment;  // to which the segment's size is rounded
  DeviceCastTable device_casts = {};                    // only where there are slots
};

// One segment's tensors, in the checkpoint's order.
struct SegmentInput {
  std::vector<ChosenTensor> tensors;
  FillRules rules = {};
};

}  // namespace warpload
