// Loads of GGUF files, to the host and to devices: packed as they are, or turned into numbers on the way.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "convert/dequant.hpp"
#include "cpp/support/backends.hpp"
#include "cpp/support/catch_error.hpp"
#include "cpp/support/gguf_bytes.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/loader.hpp"

namespace warpload {
namespace {

using namespace testing;

constexpr std::uint64_t kRows = 900;
constexpr std::uint64_t kColumns = 4096;
constexpr std::uint32_t kGgmlQ6K = 14;
constexpr std::uint32_t kGgmlIq1S = 19;

// Bytes of blocks; whatever they are, they stand for numbers.
std::string blocks_of(std::uint64_t bytes) { return pattern_bytes(bytes); }

struct QuantisedFile {
  std::string small = blocks_of(34);                            // one block of Q8_0
  std::string large = blocks_of(kRows * kColumns / 256 * 210);  // Q6_K: several slots as it is, more as numbers
  std::string norm = f32_pattern(100);
  std::string bytes = gguf_bytes(
      {.tensors = {gguf_entry("small", {32}, kGgmlQ8_0, 0), gguf_entry("large", {kColumns, kRows}, kGgmlQ6K, 64),
                   gguf_entry("norm", {100}, kGgmlF32, norm_offset())},
       .data = small + std::string(30, '\0') + large + std::string(norm_offset() - 64 - large.size(), '\0') + norm});

  [[nodiscard]] std::uint64_t norm_offset() const { return (64 + large.size() + 31) / 32 * 32; }
};

std::string numbers_of(BlockType type, const std::string& blocks, DType dtype) {
  const std::size_t count = blocks.size() / block_bytes(type);
  std::string result(count * block_elements(type) * dtype_bits(dtype) / 8, '\0');
  find_dequantization(type, dtype, SimdLevel::kScalar)(reinterpret_cast<const std::byte*>(blocks.data()),
                                                       reinterpret_cast<std::byte*>(result.data()), count);
  return result;
}

LoaderOptions small_slots(unsigned threads) {
  return {.threads = threads, .pinned_bytes = 6 * kMiB, .slot_bytes = 2 * kMiB};
}

class GgufLoadTest : public BackendTest {};

TEST_P(GgufLoadTest, WithoutADTypeBlocksArriveAsTheyAre) {
  const Device device = open_device(GetParam());
  const QuantisedFile file;
  const auto checkpoint = Checkpoint::from_sources({std::make_shared<MemorySource>(file.bytes)});
  const LoadResult result = Loader(small_slots(3)).start(checkpoint, {.device = device}).get();
  const Tensor& large = result.tensors().at("large");
  EXPECT_EQ(large.dtype(), DType::u8);
  EXPECT_EQ(large.shape(), (std::vector<std::uint64_t>{kRows, kColumns / 256 * 210}));
  EXPECT_TRUE(bytes_of(large, device) == file.large);
  EXPECT_TRUE(bytes_of(result.tensors().at("small"), device) == file.small);
  EXPECT_TRUE(bytes_of(result.tensors().at("norm"), device) == file.norm);
}

TEST_P(GgufLoadTest, WithADTypeBlocksArriveAsNumbersWhateverTheThreads) {
  const Device device = open_device(GetParam());
  const QuantisedFile file;
  const auto checkpoint = Checkpoint::from_sources({std::make_shared<MemorySource>(file.bytes)});
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    for (const unsigned threads : {1U, 5U}) {
      const Loader loader(small_slots(threads));
      const LoadResult result = loader.start(checkpoint, {.dtype = dtype, .device = device}).get();
      const Tensor& large = result.tensors().at("large");
      EXPECT_EQ(large.dtype(), dtype);
      EXPECT_EQ(large.shape(), (std::vector<std::uint64_t>{kRows, kColumns}));
      EXPECT_TRUE(bytes_of(large, device) == numbers_of(BlockType::q6_k, file.large, dtype));
      EXPECT_TRUE(bytes_of(result.tensors().at("small"), device) == numbers_of(BlockType::q8_0, file.small, dtype));
      const std::string norm = dtype == DType::f32 ? file.norm : cast_bytes(file.norm, DType::f32, dtype);
      EXPECT_TRUE(bytes_of(result.tensors().at("norm"), device) == norm);
    }
  }
}

TEST_P(GgufLoadTest, AskedForBytesByNameATensorKeepsItsBlocks) {
  const Device device = open_device(GetParam());
  const QuantisedFile file;
  const auto checkpoint = Checkpoint::from_sources({std::make_shared<MemorySource>(file.bytes)});
  const LoadResult result =
      Loader(small_slots(2))
          .start(checkpoint,
                 {.dtype = DType::f16, .tensor_dtypes = {{"small", DType::u8}}, .only = {{"small"}}, .device = device})
          .get();
  EXPECT_EQ(result.tensors().at("small").dtype(), DType::u8);
  EXPECT_TRUE(bytes_of(result.tensors().at("small"), device) == file.small);
}

WARPLOAD_ON_ALL_BACKENDS(GgufLoadTest);

TEST(GgufHostLoad, BlocksAreViewsOfTheFileAndNumbersAreNot) {
  const TemporaryDirectory directory;
  const QuantisedFile file;
  const auto path = directory.path() / "model.gguf";
  std::ofstream(path, std::ios::binary) << file.bytes;
  const auto checkpoint = Checkpoint::open(path);
  const Loader loader({.threads = 2});
  EXPECT_EQ(loader.arena_bytes(checkpoint, {.dtype = DType::f16}) % kTensorAlignment, 0U);
  LoadHandle mapped = loader.start(checkpoint);
  EXPECT_EQ(mapped.progress().bytes_total, 0U);
  const LoadResult views = mapped.get();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(views.tensors().at("small").data()), 34), file.small);
  LoadHandle read = loader.start(checkpoint, {.dtype = DType::f32, .only = {{"small", "large"}}});
  EXPECT_EQ(read.progress().bytes_total, file.small.size() + file.large.size());
  const LoadResult numbers = read.get();
  const Tensor& large = numbers.tensors().at("large");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(large.data()), large.nbytes()),
            numbers_of(BlockType::q6_k, file.large, DType::f32));
}

TEST(GgufHostLoad, BlocksThatNobodyCanTurnIntoNumbersAreRefusedByNameAndLoadAsTheyAre) {
  const std::string blocks = blocks_of(50);
  const auto checkpoint = Checkpoint::from_sources({std::make_shared<MemorySource>(
      gguf_bytes({.tensors = {gguf_entry("w", {256}, kGgmlIq1S, 0)}, .data = blocks}))});
  const Loader loader({.threads = 1});
  const auto error = catch_error<InvalidArgumentError>([&] { (void)loader.start(checkpoint, {.dtype = DType::f32}); });
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_EQ(error.reason(), "no cast from IQ1_S to F32");
  EXPECT_FALSE(error.cure().empty());
  EXPECT_EQ(bytes_of(loader.start(checkpoint).get().tensors().at("w"), Device::host()), blocks);
}

TEST(GgufHostLoad, MemoryMayHoldBlocksToo) {
  const std::string blocks = blocks_of(2 * 34);
  const auto tensor = [&](std::vector<std::uint64_t> shape, DType dtype = DType::u8) {
    MemoryTensor result{"w", dtype, std::move(shape), std::as_bytes(std::span(blocks)), nullptr};
    result.blocks = BlockType::q8_0;
    return std::vector<MemoryTensor>{std::move(result)};
  };
  const Loader loader({.threads = 1});
  const auto checkpoint = Checkpoint::from_memory(tensor({2, 34}));
  const LoadResult result = loader.start(checkpoint, {.dtype = DType::f32}).get();
  EXPECT_EQ(result.tensors().at("w").shape(), (std::vector<std::uint64_t>{2, 32}));
  EXPECT_EQ(bytes_of(result.tensors().at("w"), Device::host()), numbers_of(BlockType::q8_0, blocks, DType::f32));
  EXPECT_THROW(static_cast<void>(Checkpoint::from_memory(tensor({34, 2}))), InvalidArgumentError);
  EXPECT_THROW(static_cast<void>(Checkpoint::from_memory(tensor({2, 34}, DType::i8))), InvalidArgumentError);
}

}  // namespace
}  // namespace warpload
