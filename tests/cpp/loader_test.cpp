#include "warpload/loader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <optional>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/page_cache.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::catch_error;
using testing::MemorySource;
using testing::pattern_bytes;
using testing::safetensors_file;
using testing::TemporaryDirectory;
using testing::TensorSpec;

// 1.0, 2.0, -0.5 ... as bit patterns that need no arithmetic: bf16 is the upper half of fp32.
std::string bf16_bytes(std::size_t count) {
  std::string bytes;
  for (std::size_t index = 0; index < count; ++index) {
    bytes += static_cast<char>(index % 128);
    bytes += static_cast<char>(0x3F);
  }
  return bytes;
}

std::string widened(const std::string& bf16) {
  std::string bytes;
  for (std::size_t index = 0; index < bf16.size(); index += 2) bytes.append(2, '\0').append(bf16, index, 2);
  return bytes;
}

std::string bytes_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), static_cast<std::size_t>(tensor.nbytes())};
}

Checkpoint::Ptr large(MemorySource::Options options, std::size_t elements = std::size_t{4} << 20) {
  return Checkpoint::from_sources(
      {std::make_shared<MemorySource>(safetensors_file({{"first", "BF16", {elements / 2}, bf16_bytes(elements / 2)},
                                                        {"second", "BF16", {elements / 2}, bf16_bytes(elements / 2)}}),
                                      std::move(options))});
}

TEST(LoaderTest, CastTensorsHoldTheCastBytesWhateverTheThreads) {
  const std::string data = bf16_bytes(3'000'001);
  const auto checkpoint = Checkpoint::from_sources(
      {std::make_shared<MemorySource>(safetensors_file({{"small", "BF16", {5}, data.substr(0, 10)},
                                                        {"ids", "I64", {2}, pattern_bytes(16)},
                                                        {"large", "BF16", {3'000'001}, data}}))});
  for (const unsigned threads : {1U, 2U, 7U}) {
    const Loader loader({.threads = threads});
    const auto tensors = loader.start(checkpoint, {.dtype = DType::f32}).get().tensors();
    ASSERT_EQ(tensors.size(), 3U);
    EXPECT_EQ(tensors[0].name(), "small");
    EXPECT_EQ(tensors[0].dtype(), DType::f32);
    EXPECT_EQ(bytes_of(tensors[0]), widened(data.substr(0, 10)));
    EXPECT_EQ(bytes_of(tensors[1]), pattern_bytes(16));
    EXPECT_EQ(bytes_of(tensors[2]), widened(data));
    EXPECT_EQ(tensors[2].shape(), (std::vector<std::uint64_t>{3'000'001}));
  }
}

TEST(LoaderTest, BracesAroundACheckpointAreARequestAndNeverANullPointer) {
  const auto checkpoint =
      Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file({{"a", "U8", {4}, "abcd"}}))});
  const Loader loader;
  EXPECT_EQ(bytes_of(loader.start({{checkpoint}}).get().tensors()[0]), "abcd");
  EXPECT_EQ(bytes_of(loader.start({{checkpoint, {}}}).get().tensors()[0]), "abcd");
  EXPECT_EQ(bytes_of(loader.start(std::const_pointer_cast<Checkpoint>(checkpoint)).get().tensors()[0]), "abcd");
}

TEST(LoaderTest, SegmentThatDoesNotExistIsRefused) {
  const LoadResult result = Loader().start(std::vector<SegmentRequest>{}).get();
  EXPECT_THROW(static_cast<void>(result.tensors()), InvalidArgumentError);
}

TEST(LoaderTest, EveryRequestGetsASegmentOfItsOwn) {
  const auto first =
      Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file({{"a", "U8", {4}, "abcd"}}))});
  const auto second =
      Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file({{"a", "U8", {2}, "xy"}}))});
  const auto result = Loader().start({{first}, {second}}).get();
  ASSERT_EQ(result.segment_count(), 2U);
  EXPECT_EQ(bytes_of(result.tensors(0)[0]), "abcd");
  EXPECT_EQ(bytes_of(result.tensors(1)[0]), "xy");
}

TEST(LoaderTest, ViewsShareTheFileCopyOnWrite) {
  TemporaryDirectory directory;
  const auto path = directory.write("a.safetensors", safetensors_file({{"a", "U8", {4}, "abcd"}}));
  const auto tensor = Loader().start(Checkpoint::open({path})).get().tensors()[0];
  EXPECT_EQ(bytes_of(tensor), "abcd");
  tensor.data()[0] = std::byte{'X'};
  const auto again = Loader().start(Checkpoint::open({path})).get().tensors()[0];
  EXPECT_EQ(bytes_of(again), "abcd");
  EXPECT_EQ(bytes_of(tensor), "Xbcd");
}

TEST(LoaderTest, TensorsOutliveLoaderHandleCheckpointAndFile) {
  TemporaryDirectory directory;
  const auto path = directory.write(
      "a.safetensors", safetensors_file({{"view", "U8", {4}, "abcd"}, {"cast", "BF16", {3}, bf16_bytes(3)}}));
  TensorList tensors;
  {
    auto checkpoint = Checkpoint::open({path});
    const Loader loader;
    tensors = loader.start(checkpoint, {.dtype = DType::f32}).get().tensors();
  }
  std::filesystem::remove(path);
  EXPECT_EQ(bytes_of(tensors[0]), "abcd");
  EXPECT_EQ(bytes_of(tensors[1]), widened(bf16_bytes(3)));
}

TEST(LoaderTest, LoaderMayBeDestroyedWhileItsLoadRuns) {
  std::optional<LoadHandle> load;
  {
    const Loader loader({.threads = 2});
    load = loader.start(large({.delay = milliseconds(1)}), {.dtype = DType::f32});
  }
  EXPECT_EQ(bytes_of(load->get().tensors()[0]), widened(bf16_bytes(std::size_t{2} << 20)));
}

TEST(LoaderTest, FailingReadEndsTheLoadAndNamesShardTensorAndRange) {
  for (const std::uint64_t nth : {2U, 3U, 9U}) {  // 0 and 1 are the header's
    auto load =
        Loader({.threads = 3}).start(large({.path = "broken.safetensors", .fail_at_read = nth}), {.dtype = DType::f32});
    const auto error = catch_error<IoError>([&] { static_cast<void>(load.get()); });
    EXPECT_EQ(error.path(), "broken.safetensors");
    EXPECT_TRUE(error.tensor() == "first" || error.tensor() == "second") << error.tensor();
    EXPECT_TRUE(error.range().has_value());
    EXPECT_EQ(error.system_error(), EIO);
    EXPECT_TRUE(load.done());
  }
}

TEST(LoaderTest, FileThatShrinksDuringTheLoadIsAnErrorNotASignal) {
  const std::uint64_t header_and_first = std::uint64_t{5} << 20;
  auto load = Loader().start(large({.size_after_open = header_and_first}), {.dtype = DType::f32});
  const auto error = catch_error<IoError>([&] { static_cast<void>(load.get()); });
  EXPECT_EQ(error.tensor(), "second");
}

class LoaderDirectIoTest : public ::testing::TestWithParam<DirectIo> {};

TEST_P(LoaderDirectIoTest, FilesThatAreNotInThePageCacheGiveTheSameTensors) {
  const TemporaryDirectory directory(std::filesystem::current_path());
  const std::string first = bf16_bytes(7'000'001);
  const std::string second = bf16_bytes(3'000'000);
  std::vector<std::filesystem::path> shards;
  shards.push_back(directory.write(
      "a", safetensors_file({{"first", "BF16", {7'000'001}, first}, {"odd", "U8", {4097}, pattern_bytes(4097)}})));
  shards.push_back(directory.write("b", safetensors_file({{"second", "BF16", {3'000'000}, second}})));
  for (const unsigned threads : {1U, 3U}) {
    for (const auto& shard : shards) static_cast<void>(testing::evict(shard));
    const Loader loader({.threads = threads, .direct_io = GetParam()});
    const auto checkpoint = Checkpoint::open(shards);
    const auto result = loader
                            .start({{checkpoint, {.dtype = DType::f32}},
                                    {checkpoint, {.only = {{"odd", "second"}}, .zero_copy = false}}})
                            .get();
    EXPECT_EQ(bytes_of(result.tensors(0)[0]), widened(first));
    EXPECT_EQ(bytes_of(result.tensors(0)[1]), pattern_bytes(4097));
    EXPECT_EQ(bytes_of(result.tensors(0)[2]), widened(second));
    EXPECT_EQ(bytes_of(result.tensors(1)[0]), pattern_bytes(4097));
    EXPECT_EQ(bytes_of(result.tensors(1)[1]), second);
  }
}

TEST_P(LoaderDirectIoTest, FileThatShrankIsAnErrorThatNamesTensorAndMissingBytes) {
  const TemporaryDirectory directory(std::filesystem::current_path());
  const std::string half = bf16_bytes(1'000'000);
  const auto path = directory.write(
      "a", safetensors_file({{"first", "BF16", {1'000'000}, half}, {"second", "BF16", {1'000'000}, half}}));
  const auto checkpoint = Checkpoint::open({path});
  const std::uint64_t left = checkpoint->find("second")->range.begin + 12'345;
  static_cast<void>(testing::evict(path));
  std::filesystem::resize_file(path, left);
  auto load = Loader({.threads = 1, .direct_io = GetParam()}).start(checkpoint, {.dtype = DType::f32});
  const auto error = catch_error<IoError>([&] { static_cast<void>(load.get()); });
  EXPECT_EQ(error.reason(), "the file shrank while it was being read");
  EXPECT_EQ(error.tensor(), "second");
  ASSERT_TRUE(error.range().has_value());
  EXPECT_EQ(error.range()->begin, left);
}

INSTANTIATE_TEST_SUITE_P(Modes, LoaderDirectIoTest,
                         ::testing::Values(DirectIo::kAuto, DirectIo::kNever, DirectIo::kAlways));

TEST(LoaderTest, FirstErrorStopsTheReading) {
  const auto source = std::make_shared<MemorySource>(
      safetensors_file({{"a", "BF16", {std::size_t{8} << 20}, bf16_bytes(std::size_t{8} << 20)}}),
      MemorySource::Options{.fail_at_read = 2});
  auto load = Loader({.threads = 1}).start(Checkpoint::from_sources({source}), {.dtype = DType::f32});
  load.wait();
  EXPECT_EQ(source->read_count(), 3U);  // two for the header, and the one that failed
}

TEST(LoaderTest, CancelEndsTheLoadWithItsOwnError) {
  auto load = Loader({.threads = 2}).start(large({.delay = milliseconds(20)}), {.dtype = DType::f32});
  load.cancel();
  EXPECT_THROW(static_cast<void>(load.get()), CancelledError);
  EXPECT_LT(load.progress().bytes_done, load.progress().bytes_total);
}

TEST(LoaderTest, CancelAfterTheEndChangesNothing) {
  auto load = Loader().start(large({}), {.dtype = DType::f32});
  load.wait();
  load.cancel();
  EXPECT_EQ(load.get().tensors().size(), 2U);
}

TEST(LoaderTest, DestroyingTheHandleStopsTheWorkers) {
  const auto source = std::make_shared<MemorySource>(
      safetensors_file({{"a", "BF16", {std::size_t{8} << 20}, bf16_bytes(std::size_t{8} << 20)}}),
      MemorySource::Options{.delay = milliseconds(5)});
  const Loader loader({.threads = 2});
  {
    auto load = loader.start(Checkpoint::from_sources({source}), {.dtype = DType::f32});
  }
  const std::uint64_t reads = source->read_count();
  EXPECT_LT(reads, 34U);  // the whole would be two and thirty-two
  EXPECT_TRUE(loader.start(large({}), {.dtype = DType::f32}).wait_for(seconds(60)));
  EXPECT_EQ(source->read_count(), reads);
}

TEST(LoaderTest, SegmentsArriveInTheOrderOfTheRequests) {
  const Loader loader({.threads = 1});
  auto load =
      loader.start({{large({}), {.dtype = DType::f32}}, {large({.delay = milliseconds(30)}), {.dtype = DType::f32}}});
  EXPECT_TRUE(load.wait_segment_for(0, seconds(60)));
  EXPECT_FALSE(load.done());
  load.rethrow_if_failed();
  EXPECT_EQ(bytes_of(load.tensors(0)[0]), widened(bf16_bytes(std::size_t{2} << 20)));
  EXPECT_TRUE(load.wait_segment_for(1, seconds(60)));
}

TEST(LoaderTest, WaitingForASegmentOfAFailedLoadReturnsAndTheErrorFollows) {
  auto load = Loader({.threads = 2}).start(large({.fail_at_read = 2}), {.dtype = DType::f32});
  EXPECT_TRUE(load.wait_segment_for(0, seconds(60)));
  EXPECT_THROW(load.rethrow_if_failed(), IoError);
}

TEST(LoaderTest, WaitingForASegmentThatWasCancelledBeforeItBeganReturns) {
  const Loader loader({.threads = 1});
  auto blocker = loader.start(large({.delay = milliseconds(20)}), {.dtype = DType::f32});
  auto load = loader.start(large({}), {.dtype = DType::f32});
  load.cancel();
  EXPECT_TRUE(load.wait_segment_for(0, seconds(60)));
  blocker.cancel();
  EXPECT_THROW(load.rethrow_if_failed(), CancelledError);
}

TEST(LoaderTest, ProgressCountsEveryByteThatIsRead) {
  auto load = Loader().start(large({}), {.dtype = DType::f32});
  load.wait();
  EXPECT_EQ(load.progress().bytes_total, std::uint64_t{8} << 20);
  EXPECT_EQ(load.progress().bytes_done, load.progress().bytes_total);
}

TEST(LoaderTest, LoadsRunSideBySideOnOneLoader) {
  const Loader loader({.threads = 2});
  std::vector<LoadHandle> loads;
  for (int index = 0; index < 8; ++index) {
    loads.push_back(loader.start(large({}), {.dtype = DType::f32}));
  }
  for (const LoadHandle& load : loads) {
    EXPECT_EQ(bytes_of(load.get().tensors()[1]), widened(bf16_bytes(std::size_t{2} << 20)));
  }
}

TEST(LoaderTest, NothingIsReadWhenAReservationFails) {
  const auto source = std::make_shared<MemorySource>(safetensors_file({{"a", "F8_E8M0", {2}, "ab"}}));
  const auto checkpoint = Checkpoint::from_sources({source});
  const std::uint64_t reads = source->read_count();
  EXPECT_THROW(static_cast<void>(Loader().start(checkpoint, {.dtype = DType::f32})), InvalidArgumentError);
  EXPECT_EQ(source->read_count(), reads);
}

TEST(LoaderTest, EmptyTensorsAndEmptyRequestsAreFine) {
  const auto checkpoint =
      Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file({{"empty", "F32", {0}, ""}}))});
  const auto result = Loader().start(checkpoint, {.dtype = DType::bf16}).get();
  EXPECT_EQ(result.tensors(0)[0].data(), nullptr);
  EXPECT_EQ(result.tensors(0)[0].nbytes(), 0U);
  EXPECT_EQ(Loader().start(std::vector<SegmentRequest>{}).get().segment_count(), 0U);
}

}  // namespace
}  // namespace warpload
