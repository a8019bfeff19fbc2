#include "plan/load_plan.hpp"

#include <gtest/gtest.h>

#include <set>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/claimed_source.hpp"
#include "cpp/support/gguf_bytes.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/plans.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::gguf_bytes;
using testing::gguf_entry;
using testing::kGgmlQ4_0;
using testing::MemorySource;
using testing::pattern_bytes;
using testing::safetensors_file;
using testing::TemporaryDirectory;
using testing::TensorSpec;

Checkpoint::Ptr in_memory(const std::vector<TensorSpec>& tensors) {
  return Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file(tensors))});
}

LoadPlan plan_of(const SegmentRequest& request, const PlanLimits& limits = {}) {
  return testing::plan_of(std::span(&request, 1), limits);
}

TEST(LoadPlanTest, EveryArenaTensorIsAlignedAndNoneOverlap) {
  const auto checkpoint = in_memory({{"a", "U8", {3}, pattern_bytes(3)},
                                     {"b", "F16", {5}, pattern_bytes(10)},
                                     {"c", "F32", {100}, pattern_bytes(400)},
                                     {"d", "I64", {1}, pattern_bytes(8)}});
  const LoadPlan plan = plan_of({checkpoint, {.dtype = DType::bf16}});
  std::uint64_t end = 0;
  for (const PlannedTensor& tensor : plan.segments[0].tensors) {
    EXPECT_EQ(tensor.backing, Backing::kArena);
    EXPECT_EQ(tensor.offset % kTensorAlignment, 0U);
    EXPECT_GE(tensor.offset, end);
    end = tensor.offset + tensor.nbytes;
  }
  EXPECT_LE(end, plan.segments[0].arena_bytes);
  EXPECT_EQ(plan.segments[0].arena_bytes % kSegmentAlignment, 0U);
}

// Each of them alone would fit; a sparse file may claim them all.
TEST(LoadPlanTest, TensorsWhoseSizesAddUpToMoreThan64BitsAreRefused) {
  constexpr std::uint64_t kEach = std::uint64_t{1} << 53;  // eight times as many bytes once they are cast
  constexpr std::uint64_t kCount = 257;
  std::string header = "{";
  for (std::uint64_t number = 0; number < kCount; ++number) {
    header += (number == 0 ? "\"" : ",\"") + std::to_string(number) + R"(":{"dtype":"F8_E4M3","shape":[)" +
              std::to_string(kEach) + R"(],"data_offsets":[)" + std::to_string(number * kEach) + "," +
              std::to_string((number + 1) * kEach) + "]}";
  }
  const auto source = std::make_shared<testing::ClaimedSource>(header + "}", kCount * kEach);
  const SegmentRequest request{Checkpoint::from_sources({source}), {.dtype = DType::f64}};
  constexpr PlanLimits kFewRuns{.run_bytes = kEach, .batch_bytes = kEach};
  EXPECT_THROW(static_cast<void>(plan_of(request, kFewRuns)), OutOfMemoryError);
}

TEST(LoadPlanTest, FloatingPointTensorsTakeTheDtypeAndIntegersKeepTheirs) {
  const auto checkpoint = in_memory({{"weight", "F32", {4}, pattern_bytes(16)},
                                     {"ids", "I64", {2}, pattern_bytes(16)},
                                     {"mask", "BOOL", {2}, pattern_bytes(2)},
                                     {"kept", "F16", {2}, pattern_bytes(4)}});
  const LoadPlan plan = plan_of({checkpoint, {.dtype = DType::bf16, .tensor_dtypes = {{"kept", DType::f32}}}});
  const auto& tensors = plan.segments[0].tensors;
  EXPECT_EQ(tensors[0].dtype, DType::bf16);
  EXPECT_EQ(tensors[0].nbytes, 8U);
  EXPECT_EQ(tensors[1].dtype, DType::i64);
  EXPECT_EQ(tensors[2].dtype, DType::boolean);
  EXPECT_EQ(tensors[3].dtype, DType::f32);
  EXPECT_EQ(tensors[3].nbytes, 8U);
}

TEST(LoadPlanTest, PiecesOfAQuantisedTensorAreWholeBlocksWhateverTheRunLength) {
  constexpr std::uint64_t kBlock = 18;        // bytes of Q4_0
  constexpr std::uint64_t kNumbers = 32 * 2;  // bytes of a block's numbers in bf16
  constexpr std::uint64_t kBlocks = 1000;
  const auto checkpoint = Checkpoint::from_sources({std::make_shared<MemorySource>(gguf_bytes(
      {.tensors = {gguf_entry("w", {32, kBlocks}, kGgmlQ4_0, 0)}, .data = pattern_bytes(kBlock * kBlocks)}))});
  const std::uint64_t begin = checkpoint->tensors().front().range.begin;
  for (const std::uint64_t run_bytes : {kBlock, kBlock + 1, std::uint64_t{100}, std::uint64_t{4096}}) {
    const LoadPlan plan = plan_of({checkpoint, {.dtype = DType::bf16}}, {.run_bytes = run_bytes, .batch_bytes = 512});
    std::uint64_t blocks = 0;
    for (const ReadRun& run : plan.runs) {
      EXPECT_EQ(run.source, (ByteRange{begin + blocks * kBlock, run.source.end}));
      EXPECT_LE(run.source.size(), run_bytes);
      ASSERT_EQ(run.piece_count, 1U);
      const Piece& piece = plan.pieces[run.first_piece];
      EXPECT_EQ(piece.destination_offset, blocks * kNumbers);
      EXPECT_EQ(piece.count * kBlock, run.source.size());
      blocks += piece.count;
    }
    EXPECT_EQ(blocks, kBlocks);
    EXPECT_EQ(plan.segments[0].tensors[0].nbytes, kBlocks * kNumbers);
  }
}

TEST(LoadPlanTest, PiecesCoverEveryElementOnceWhateverTheRunLength) {
  const auto checkpoint = in_memory({{"a", "F16", {1001}, pattern_bytes(2002)},
                                     {"b", "U8", {7}, pattern_bytes(7)},
                                     {"c", "F64", {33}, pattern_bytes(264)},
                                     {"d", "F32", {257}, pattern_bytes(1028)}});
  for (const std::uint64_t run_bytes : {8U, 9U, 64U, 100U, 4096U}) {
    const LoadPlan plan = plan_of({checkpoint, {.dtype = DType::f32}}, {.run_bytes = run_bytes, .batch_bytes = 512});
    std::uint64_t expected = checkpoint->tensors().front().range.begin;
    std::multiset<std::uint64_t> written;
    for (const ReadRun& run : plan.runs) {
      EXPECT_EQ(run.source.begin, expected);
      EXPECT_LE(run.source.size(), run_bytes);
      expected = run.source.end;
      for (std::size_t index = 0; index < run.piece_count; ++index) {
        const Piece& piece = plan.pieces[run.first_piece + index];
        const std::uint64_t size = piece.cast == nullptr ? 1 : 4;
        for (std::uint64_t element = 0; element < piece.count; ++element) {
          written.insert(piece.destination_offset + element * size);
        }
      }
    }
    EXPECT_EQ(expected, checkpoint->tensors().back().range.end);
    std::multiset<std::uint64_t> wanted;
    for (const PlannedTensor& tensor : plan.segments[0].tensors) {
      const bool cast = tensor.dtype != checkpoint->tensors()[tensor.tensor].dtype;
      for (std::uint64_t at = 0; at < tensor.nbytes; at += cast ? 4 : 1) wanted.insert(tensor.offset + at);
    }
    EXPECT_EQ(written, wanted) << "run length " << run_bytes;
  }
}

TEST(LoadPlanTest, BatchesHoldEveryRunOnceInOrderAndNeverCrossASegment) {
  const auto checkpoint = in_memory({{"a", "F16", {5000}, pattern_bytes(10000)}});
  const std::vector<SegmentRequest> requests(3, {checkpoint, {.dtype = DType::f32}});
  const LoadPlan plan = testing::plan_of(requests, {.run_bytes = 128, .batch_bytes = 1000});
  std::size_t next = 0;
  for (const Batch& batch : plan.batches) {
    EXPECT_EQ(batch.first_run, next);
    EXPECT_GT(batch.run_count, 0U);
    next += batch.run_count;
    EXPECT_EQ(plan.runs[batch.first_run].segment, plan.runs[next - 1].segment);
  }
  EXPECT_EQ(next, plan.runs.size());
}

TEST(LoadPlanTest, AlignedUncastTensorsOfAFileBecomeViewsAndMisalignedOnesAreCopied) {
  TemporaryDirectory directory;
  const auto file = directory.write("a.safetensors", safetensors_file({{"odd", "U8", {3}, pattern_bytes(3)},
                                                                       {"misaligned", "F32", {2}, pattern_bytes(8)},
                                                                       {"filler", "U8", {5}, pattern_bytes(5)},
                                                                       {"aligned", "F32", {2}, pattern_bytes(8)}}));
  const auto checkpoint = Checkpoint::open({file});
  const LoadPlan plan = plan_of({checkpoint});
  const auto& tensors = plan.segments[0].tensors;
  EXPECT_EQ(tensors[0].backing, Backing::kView);
  EXPECT_EQ(tensors[1].backing, Backing::kArena);
  EXPECT_EQ(tensors[3].backing, Backing::kView);
  EXPECT_EQ(tensors[3].offset, checkpoint->tensors()[3].range.begin);
  EXPECT_EQ(plan.read_bytes, 8U);

  const LoadPlan copied = plan_of({checkpoint, {.zero_copy = false}});
  for (const PlannedTensor& tensor : copied.segments[0].tensors) EXPECT_EQ(tensor.backing, Backing::kArena);
}

TEST(LoadPlanTest, FilteredTensorsAreNotReadAndSplitTheRun) {
  const auto checkpoint = in_memory({{"a", "F16", {8}, pattern_bytes(16)},
                                     {"b", "F16", {8}, pattern_bytes(16)},
                                     {"c", "F16", {8}, pattern_bytes(16)}});
  const LoadPlan plan = plan_of({checkpoint, {.dtype = DType::f32, .only = std::unordered_set<std::string>{"a", "c"}}});
  ASSERT_EQ(plan.runs.size(), 2U);
  EXPECT_EQ(plan.runs[0].source, checkpoint->tensors()[0].range);
  EXPECT_EQ(plan.runs[1].source, checkpoint->tensors()[2].range);
  EXPECT_EQ(plan.read_bytes, 32U);
}

TEST(LoadPlanTest, FilterIsAskedAboutTheTensorsThatOnlyNamesAndDecides) {
  const auto checkpoint = in_memory({{"a", "U8", {1}, "a"}, {"b", "U8", {2}, "bb"}, {"c", "U8", {1}, "c"}});
  std::string asked;
  const auto filter = [&](const TensorInfo& tensor) {
    asked += tensor.name;
    return tensor.range.size() == 1;
  };
  const LoadPlan plan = plan_of({checkpoint, {.only = std::unordered_set<std::string>{"a", "b"}, .filter = filter}});
  EXPECT_EQ(asked, "ab");
  ASSERT_EQ(plan.segments[0].tensors.size(), 1U);
  EXPECT_EQ(plan.segments[0].tensors[0].tensor, 0U);
}

TEST(LoadPlanTest, EmptyTensorsTakeNoRun) {
  const LoadPlan plan = plan_of({in_memory({{"empty", "F32", {0, 4}, ""}}), {.dtype = DType::bf16}});
  EXPECT_TRUE(plan.runs.empty());
  EXPECT_EQ(plan.arena_bytes, 0U);
  EXPECT_EQ(plan.segments[0].tensors[0].nbytes, 0U);
}

TEST(LoadPlanTest, UnsupportedCastIsRefusedAndNamed) {
  const auto checkpoint = in_memory({{"scale", "F8_E8M0", {2}, pattern_bytes(2)}});
  const auto error = catch_error<InvalidArgumentError>([&] { plan_of({checkpoint, {.dtype = DType::bf16}}); });
  EXPECT_EQ(error.tensor(), "scale");
  EXPECT_NE(error.reason().find("F8_E8M0"), std::string::npos);
}

TEST(LoadPlanTest, UnknownNamesInARequestAreRefused) {
  const auto checkpoint = in_memory({{"a", "F16", {1}, pattern_bytes(2)}});
  EXPECT_EQ(catch_error<InvalidArgumentError>([&] {
              plan_of({checkpoint, {.tensor_dtypes = {{"b", DType::f32}}}});
            }).tensor(),
            "b");
  EXPECT_EQ(catch_error<InvalidArgumentError>([&] {
              plan_of({checkpoint, {.only = std::unordered_set<std::string>{"c"}}});
            }).tensor(),
            "c");
  EXPECT_THROW(plan_of({}), InvalidArgumentError);
}

}  // namespace
}  // namespace warpload
