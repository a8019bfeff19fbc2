#include "io/memory_byte_source.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "io/file.hpp"
#include "io/mapped_file.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::pattern_bytes;

std::string read(const ByteSource& source, std::uint64_t offset, std::size_t size) {
  std::string result(size, '?');
  source.read_exact(offset, {reinterpret_cast<std::byte*>(result.data()), size});
  return result;
}

TEST(MemoryByteSourceTest, BytesComeFromTheMemoryWhichItsOwnerKeeps) {
  auto owner = std::make_shared<std::string>(pattern_bytes(100'000));
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(owner->data()), owner->size()};
  const MemoryByteSource source(bytes, owner, "memory");
  owner.reset();
  EXPECT_EQ(source.size(), 100'000U);
  EXPECT_EQ(read(source, 4095, 5000), pattern_bytes(100'000).substr(4095, 5000));
  EXPECT_THROW(read(source, 99'999, 2), IoError);
}

TEST(MemoryByteSourceTest, MappingOfAFileThatBecameShorterIsAnErrorNotASignal) {
  testing::TemporaryDirectory directory;
  const auto path = directory.write("weights", pattern_bytes(1 << 20));
  const auto mapping = MappedFile::map(*File::open(path));
  const MemoryByteSource source(mapping->bytes(), std::const_pointer_cast<MappedFile>(mapping), "memory of weight");
  EXPECT_EQ(read(source, 0, 100), pattern_bytes(100));
  std::filesystem::resize_file(path, 4096);
  const auto error = catch_error<IoError>([&] { read(source, 500'000, 1000); });
  EXPECT_EQ(error.path(), "memory of weight");
  EXPECT_NE(error.system_error(), 0);
}

TEST(CheckpointFromMemoryTest, SizeThatDoesNotFollowFromTheShapeIsRefusedByName) {
  const std::string data(10, 'x');
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data.data()), data.size()};
  const auto error = catch_error<InvalidArgumentError>(
      [&] { static_cast<void>(Checkpoint::from_memory({{"w", DType::f32, {3}, bytes, nullptr}})); });
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_THROW(static_cast<void>(Checkpoint::from_memory(
                   {{"w", DType::f32, {std::uint64_t{1} << 62, std::uint64_t{1} << 62}, bytes, nullptr}})),
               InvalidArgumentError);
}

TEST(CheckpointFromMemoryTest, AShapeThatNoTensorCanHaveIsRefusedByName) {
  const auto error = catch_error<InvalidArgumentError>([] {
    static_cast<void>(Checkpoint::from_memory({{"w", DType::f32, {0, std::uint64_t{1} << 62, 2}, {}, nullptr}}));
  });
  EXPECT_EQ(error.tensor(), "w");
  const auto wide =
      Checkpoint::from_memory({{"w", DType::f32, {0, std::uint64_t{1} << 32, std::uint64_t{1} << 32}, {}, nullptr}});
  EXPECT_EQ(wide->tensors().size(), 1U);
}

TEST(CheckpointFromMemoryTest, TwoTensorsOfOneNameAreRefused) {
  const std::string data(4, 'x');
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data.data()), data.size()};
  const auto error = catch_error<InvalidArgumentError>([&] {
    static_cast<void>(
        Checkpoint::from_memory({{"w", DType::f32, {1}, bytes, nullptr}, {"w", DType::u8, {4}, bytes, nullptr}}));
  });
  EXPECT_EQ(error.tensor(), "w");
}

}  // namespace
}  // namespace warpload
