// Plans through slots, carried out in memory by the simplest means and held against the bytes that have to come out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cpp/support/load_cases.hpp"
#include "cpp/support/plans.hpp"
#include "plan/load_plan.hpp"

namespace warpload {
namespace {

using testing::bf16_pattern;
using testing::cast_bytes;
using testing::f32_pattern;
using testing::MemorySource;
using testing::pattern_bytes;
using testing::plan_of;
using testing::safetensors_file;
using testing::TensorSpec;

constexpr PlanLimits kTiny{.run_bytes = 512, .slot_bytes = 2048};

std::byte* bytes(std::string& text) { return reinterpret_cast<std::byte*>(text.data()); }

// Fills a slot as the workers would.
std::string fill_slot(const LoadPlan& plan, const Batch& batch, const Checkpoint& checkpoint) {
  std::string slot(batch.slot_bytes, '?');
  for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
    const ReadRun& run = plan.runs[index];
    EXPECT_LE(run.source.size(), kTiny.run_bytes);
    std::string buffer(run.source.size(), '\0');
    checkpoint.source(run.shard).read_exact(run.source.begin, {bytes(buffer), buffer.size()});
    for (std::size_t at = run.first_piece; at < run.first_piece + run.piece_count; ++at) {
      const Piece& piece = plan.pieces[at];
      const std::byte* from = bytes(buffer) + piece.source_offset;
      if (piece.cast == nullptr) {
        std::memcpy(bytes(slot) + piece.destination_offset, from, piece.count);
      } else {
        piece.cast(from, bytes(slot) + piece.destination_offset, piece.count);
      }
    }
  }
  return slot;
}

// The arena that the plan gives; bytes that nothing writes are '.'.
std::string carry_out(const LoadPlan& plan, const Checkpoint& checkpoint) {
  std::string arena(plan.segments[0].arena_bytes, '.');
  for (const Batch& batch : plan.batches) {
    EXPECT_GT(batch.slot_bytes, 0U);
    EXPECT_LE(batch.slot_bytes, kTiny.slot_bytes);
    std::string slot = fill_slot(plan, batch, checkpoint);
    if (batch.cast_count == 0) arena.replace(batch.destination_offset, slot.size(), slot);
    for (std::size_t index = batch.first_cast; index < batch.first_cast + batch.cast_count; ++index) {
      const DeviceCast& cast = plan.casts[index];
      EXPECT_EQ(cast.slot_offset % 256, 0U);
      EXPECT_EQ(cast.destination_offset % 256, 0U);
      find_cast(cast.source, cast.destination)(bytes(slot) + cast.slot_offset, bytes(arena) + cast.destination_offset,
                                               cast.count);
    }
  }
  return arena;
}

void expect_right(const std::vector<TensorSpec>& specs, std::optional<DType> dtype, const FillRules& rules) {
  const auto checkpoint = testing::checkpoint_of(specs);
  const std::vector<SegmentRequest> requests{{checkpoint, {.dtype = dtype}}};
  const LoadPlan plan = plan_of(requests, kTiny, {&rules, 1});
  const std::string arena = carry_out(plan, *checkpoint);
  std::size_t runs = 0;
  for (const Batch& batch : plan.batches) runs += batch.run_count;
  EXPECT_EQ(runs, plan.runs.size());
  for (std::size_t index = 0; index < specs.size(); ++index) {
    const PlannedTensor& planned = plan.segments[0].tensors[index];
    const DType source = *parse_dtype(specs[index].dtype);
    const bool cast = planned.dtype != source;
    const std::string expected = cast ? cast_bytes(specs[index].data, source, planned.dtype) : specs[index].data;
    EXPECT_EQ(planned.backing, Backing::kArena);
    EXPECT_EQ(planned.offset % 256, 0U);
    EXPECT_TRUE(arena.substr(planned.offset, planned.nbytes) == expected) << specs[index].name;
  }
}

std::vector<TensorSpec> random_tensors(std::mt19937& random) {
  std::vector<TensorSpec> specs;
  const std::size_t count = 1 + random() % 8;
  for (std::size_t index = 0; index < count; ++index) {
    const std::size_t elements = random() % 4 == 0 ? random() % 5 : random() % 3000;
    const std::string name = "t" + std::to_string(index);
    switch (random() % 3) {
      case 0:
        specs.push_back({name, "U8", {elements}, pattern_bytes(elements)});
        break;
      case 1:
        specs.push_back({name, "BF16", {elements}, bf16_pattern(elements, static_cast<unsigned>(index))});
        break;
      default:
        specs.push_back({name, "F32", {elements}, f32_pattern(elements, static_cast<unsigned>(index))});
    }
  }
  return specs;
}

TEST(SlotLayoutTest, AnySetOfTensorsArrivesWhateverIsCastWhere) {
  std::mt19937 random(7);
  const FillRules host{.through_slots = true};
  const FillRules device{.through_slots = true, .device_casts = testing::all_pairs()};
  FillRules mixed = device;
  std::erase_if(mixed.device_casts, [](const DTypePair& pair) { return pair.source != DType::f32; });
  for (int round = 0; round < 60; ++round) {
    const auto specs = random_tensors(random);
    for (const std::optional<DType> dtype : {std::optional<DType>{}, {DType::f64}, {DType::f16}, {DType::bf16}}) {
      for (const FillRules& rules : {host, device, mixed}) expect_right(specs, dtype, rules);
    }
  }
}

TEST(SlotLayoutTest, SlotIsAnImageOfTheArenaPaddingIncluded) {
  const auto checkpoint = testing::checkpoint_of({{"a", "U8", {3}, "abc"}, {"b", "U8", {2}, "xy"}});
  const std::vector<SegmentRequest> requests{{checkpoint}};
  const std::vector<FillRules> rules{{.through_slots = true, .segment_alignment = kDeviceSegmentAlignment}};
  const LoadPlan plan = plan_of(requests, kTiny, rules);
  ASSERT_EQ(plan.batches.size(), 1U);
  EXPECT_EQ(plan.batches[0].slot_bytes, 258U);
  EXPECT_EQ(plan.batches[0].destination_offset, 0U);
  EXPECT_EQ(plan.segments[0].arena_bytes, 512U);
}

TEST(SlotLayoutTest, LargeTensorIsCutAtTheSlotsEnd) {
  const auto checkpoint = testing::checkpoint_of({{"a", "U8", {5000}, pattern_bytes(5000)}});
  const std::vector<SegmentRequest> requests{{checkpoint}};
  const std::vector<FillRules> rules{{.through_slots = true}};
  const LoadPlan plan = plan_of(requests, kTiny, rules);
  ASSERT_EQ(plan.batches.size(), 3U);
  EXPECT_EQ(plan.batches[1].destination_offset, 2048U);
  EXPECT_EQ(plan.batches[2].slot_bytes, 5000U - 4096U);
}

TEST(SlotLayoutTest, TensorsOfEmptySizeNeedNoSlot) {
  const auto checkpoint = testing::checkpoint_of({{"a", "F32", {0}, ""}});
  const std::vector<SegmentRequest> requests{{checkpoint, {.dtype = DType::bf16}}};
  const std::vector<FillRules> rules{{.through_slots = true}};
  const LoadPlan plan = plan_of(requests, kTiny, rules);
  EXPECT_TRUE(plan.batches.empty());
  EXPECT_EQ(plan.segments[0].arena_bytes, 0U);
}

}  // namespace
}  // namespace warpload
