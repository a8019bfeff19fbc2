// Loads through the C interface: one suite for the host, the fake driver and a GPU.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpp/support/backends.hpp"
#include "cpp/support/caller_stream.hpp"
#include "cpp/support/gguf_bytes.hpp"
#include "cpp/support/load_cases.hpp"
#include "cpp/support/owned_c_handles.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "device/backend.hpp"
#include "interop/c_handles.hpp"
#include "interop/dlpack_abi.hpp"

namespace warpload {
namespace {

using std::chrono::milliseconds;
using testing::BackendKind;
using testing::bf16_pattern;
using testing::call;
using testing::CallerStream;
using testing::cast_bytes;
using testing::CCheckpoint;
using testing::CLoad;
using testing::CLoader;
using testing::COutcome;
using testing::f32_pattern;
using testing::finished;
using testing::get;
using testing::kMiB;
using testing::make_loader_in_c;
using testing::MemorySource;
using testing::names_of;
using testing::open_in_c;
using testing::pattern_bytes;
using testing::read_in_c;
using testing::start_in_c;
using testing::TemporaryDirectory;
using testing::tensor_of;

constexpr std::int64_t kForever = -1;

std::vector<testing::TensorSpec> assorted() {
  return {{"ids", "I64", {3}, pattern_bytes(24)},
          {"weight", "BF16", {3, 1'000'001}, bf16_pattern(3'000'003)},
          {"bias", "F32", {700'003}, f32_pattern(700'003)},
          {"empty", "F32", {0, 4}, ""},
          {"scale", "F32", {}, f32_pattern(1)}};
}

// A checkpoint whose file can be slow, fail and shrink.
CCheckpoint checkpoint_of(MemorySource::Options options) {
  return CCheckpoint(new warpload_checkpoint(testing::checkpoint_of(assorted(), std::move(options))));
}

class CInterfaceTest : public testing::BackendTest {
 protected:
  void TearDown() override {
    release_loader();
    BackendTest::TearDown();
  }

  static warpload_device device() { return {is_cuda() ? WARPLOAD_DEVICE_CUDA : WARPLOAD_DEVICE_HOST, 0}; }

  // One with small slots and two threads.
  const CLoader& loader() {
    if (!loader_) {
      const std::string library = testing::driver_library(GetParam());
      loader_ = make_loader_in_c({.device = device(),
                                  .driver_library = library.c_str(),
                                  .threads = 2,
                                  .pinned_bytes = 6 * kMiB,
                                  .slot_bytes = 2 * kMiB});
    }
    return loader_;
  }

  void release_loader() { loader_.reset(); }

  CLoad load(const CCheckpoint& checkpoint, const warpload_load_options& options = {}) {
    return finished(start_in_c(loader(), checkpoint, options));
  }

  CCheckpoint open(const std::vector<testing::TensorSpec>& tensors = assorted()) {
    return open_in_c(directory_.write("model.safetensors", testing::safetensors_file(tensors)));
  }

 private:
  TemporaryDirectory directory_;
  CLoader loader_;
};

TEST_P(CInterfaceTest, AnEmptyTensorIsRefusedWhereItsStridesOverflowAndElseExported) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 32;
  const CLoad result = load(open({{"wide", "F32", {0, kHuge, kHuge}, ""}}));
  auto* exported = get<DLManagedTensorVersioned*>(warpload_load_dlpack, result.get(), std::size_t{0});
  auto& managed = *reinterpret_cast<dlpack_abi::ManagedTensorVersioned*>(exported);
  EXPECT_EQ(managed.tensor.strides[1], std::int64_t{1} << 32);
  managed.deleter(&managed);

  TemporaryDirectory directory;
  const std::string path =
      directory.write("model.safetensors", testing::safetensors_file({{"wide", "F32", {0, kHuge << 30, 2}, ""}}));
  const char* const paths[] = {path.c_str()};
  warpload_checkpoint* checkpoint = nullptr;
  const COutcome outcome = call(warpload_checkpoint_open, paths, std::size_t{1}, &checkpoint);
  ASSERT_EQ(outcome.status, WARPLOAD_FORMAT);
  EXPECT_EQ(outcome.details().path, path);
  EXPECT_STREQ(outcome.details().tensor, "wide");
}

TEST_P(CInterfaceTest, LoadedTensorsAreThoseOfTheFile) {
  for (const std::int32_t no_views : {0, 1}) {
    const CLoad result = load(open(), {.no_views = no_views});
    ASSERT_EQ(names_of(result), (std::vector<std::string>{"ids", "weight", "bias", "empty", "scale"}));
    for (std::size_t index = 0; index < assorted().size(); ++index) {
      const testing::TensorSpec spec = assorted()[index];
      const warpload_tensor& tensor = tensor_of(result, index);
      EXPECT_STREQ(warpload_dtype_name(tensor.dtype), spec.dtype.c_str());
      EXPECT_EQ((std::vector<std::uint64_t>(tensor.shape, tensor.shape + tensor.ndim)), spec.shape);
      EXPECT_EQ(tensor.nbytes, spec.data.size());
      EXPECT_EQ(tensor.device.kind, device().kind);
      EXPECT_EQ(tensor.device.ordinal, 0);
      EXPECT_EQ(tensor.data == nullptr, spec.data.empty());
      EXPECT_TRUE(read_in_c(result, index) == spec.data) << spec.name;
    }
  }
}

TEST_P(CInterfaceTest, HeadersAndIndexesAreTakenAsByCpp) {
  const TemporaryDirectory directory;
  directory.write("a.safetensors", testing::safetensors_bytes(R"({"a":[{"U8":null},[2],[0,2]]})", "12"));
  directory.write("b.safetensors", testing::safetensors_bytes(
                                       R"({"b":{"dtype":"U8","strides":[1],"shape":[1],"data_offsets":[0,1]}})", "3"));
  const auto index =
      directory.write("model.safetensors.index.json", R"({"weight_map":{"a":"b.safetensors","b":"a.safetensors"}})");
  const CLoad result = load(open_in_c(index), {});
  ASSERT_EQ(names_of(result), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read_in_c(result, 0), "12");
  EXPECT_EQ(read_in_c(result, 1), "3");
}

TEST_P(CInterfaceTest, CastsFollowTheDTypeOfTheTensorOrElseOfTheLoad) {
  const warpload_tensor_dtype dtypes[] = {
      {"bias", WARPLOAD_DTYPE_F64}, {"scale", WARPLOAD_DTYPE_KEEP}, {"bias", WARPLOAD_DTYPE_F16}};
  const CLoad result = load(open(), {.tensor_dtypes = dtypes, .tensor_dtype_count = 3, .dtype = WARPLOAD_DTYPE_F16});
  EXPECT_EQ(read_in_c(result, 0), pattern_bytes(24));
  EXPECT_TRUE(read_in_c(result, 1) == cast_bytes(bf16_pattern(3'000'003), DType::bf16, DType::f16));
  EXPECT_TRUE(read_in_c(result, 2) == cast_bytes(f32_pattern(700'003), DType::f32, DType::f16));
  EXPECT_EQ(tensor_of(result, 3).dtype, WARPLOAD_DTYPE_F16);
  EXPECT_EQ(read_in_c(result, 4), f32_pattern(1));
}

TEST_P(CInterfaceTest, NamesAndFilterChooseTheTensors) {
  const char* const names[] = {"ids", "scale", "bias"};
  const warpload_filter only_vectors = [](const warpload_tensor_info* tensor, void* user_data) -> std::int32_t {
    EXPECT_EQ(std::string(tensor->name, tensor->name_bytes), tensor->name);
    ++*static_cast<int*>(user_data);
    return tensor->ndim == 1;
  };
  int asked = 0;
  const CCheckpoint checkpoint = open();
  EXPECT_EQ(names_of(load(checkpoint, {.names = names, .name_count = 3})),
            (std::vector<std::string>{"ids", "bias", "scale"}));
  EXPECT_EQ(
      names_of(load(checkpoint, {.names = names, .name_count = 3, .filter = only_vectors, .filter_data = &asked})),
      (std::vector<std::string>{"ids", "bias"}));
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(names_of(load(checkpoint, {.names = names, .name_count = 0})), std::vector<std::string>{});
}

TEST_P(CInterfaceTest, TensorsAreFoundByName) {
  const CCheckpoint checkpoint = open();
  EXPECT_EQ(warpload_checkpoint_tensor_count(checkpoint.get()), 5U);
  const auto* info = get<const warpload_tensor_info*>(warpload_checkpoint_find, checkpoint.get(), "weight");
  EXPECT_EQ(info, get<const warpload_tensor_info*>(warpload_checkpoint_tensor, checkpoint.get(), std::size_t{1}));
  EXPECT_EQ((std::vector<std::uint64_t>(info->shape, info->shape + info->ndim)),
            (std::vector<std::uint64_t>{3, 1'000'001}));
  EXPECT_EQ(info->nbytes, 6'000'006U);
  EXPECT_EQ(info->dtype, WARPLOAD_DTYPE_BF16);
  const CLoad result = load(checkpoint);
  EXPECT_EQ(get<const warpload_tensor*>(warpload_load_find, result.get(), "bias"), &tensor_of(result, 2));
}

TEST_P(CInterfaceTest, QuantisedTensorsOfGgufFilesTellTheirBlocksAndLoadAsNumbers) {
  const std::string blocks = pattern_bytes(2 * 34);
  const TemporaryDirectory directory;
  const CCheckpoint checkpoint = open_in_c(directory.write(
      "model.gguf", testing::gguf_bytes({.tensors = {testing::gguf_entry("w", {32, 2}, testing::kGgmlQ8_0, 0),
                                                     testing::gguf_entry("v", {1}, testing::kGgmlF32, 96)},
                                         .data = blocks + std::string(96 - blocks.size(), '\0') + "1234"})));
  const auto* info = get<const warpload_tensor_info*>(warpload_checkpoint_find, checkpoint.get(), "w");
  EXPECT_STREQ(info->blocks, "Q8_0");
  EXPECT_EQ(info->dtype, WARPLOAD_DTYPE_U8);
  EXPECT_EQ(info->shape[1], 34U);
  EXPECT_EQ(get<const warpload_tensor_info*>(warpload_checkpoint_find, checkpoint.get(), "v")->blocks, nullptr);
  EXPECT_EQ(read_in_c(load(checkpoint), 0), blocks);
  const CLoad numbers = load(checkpoint, {.dtype = WARPLOAD_DTYPE_F32});
  EXPECT_EQ(tensor_of(numbers, 0).shape[1], 32U);
  EXPECT_EQ(tensor_of(numbers, 0).nbytes, 2U * 32 * 4);
}

TEST_P(CInterfaceTest, NameThatIsNotThereIsAnInvalidArgumentThatNamesIt) {
  const CCheckpoint checkpoint = open();
  const CLoad result = load(checkpoint);
  const warpload_tensor_info* info = nullptr;
  const warpload_tensor* tensor = nullptr;
  EXPECT_STREQ(call(warpload_checkpoint_find, checkpoint.get(), "nobody", &info).details().tensor, "nobody");
  EXPECT_EQ(call(warpload_load_find, result.get(), "nobody", &tensor).status, WARPLOAD_INVALID_ARGUMENT);
  EXPECT_EQ(warpload_load_find(result.get(), "nobody", &tensor, nullptr), WARPLOAD_INVALID_ARGUMENT);
  EXPECT_EQ(call(warpload_load_tensor, result.get(), std::size_t{5}, &tensor).status, WARPLOAD_INVALID_ARGUMENT);
  const warpload_tensor_dtype dtype = {"nobody", WARPLOAD_DTYPE_KEEP};
  const warpload_load_options options = {
      .struct_size = sizeof options, .tensor_dtypes = &dtype, .tensor_dtype_count = 1};
  warpload_load* load = nullptr;
  EXPECT_STREQ(call(warpload_load_start, loader().get(), checkpoint.get(), &options, &load).details().tensor, "nobody");
}

// ---- memory ---------------------------------------------------------------------------------------------------------

// Memory that a caller brings, and how often it was released.
class LentBytes {
 public:
  LentBytes(BackendKind kind, std::uint64_t bytes) {
    const std::uint64_t sizes[] = {bytes};
    segment_ = testing::open_device(kind).backend()->allocate(sizes)[0];
  }

  [[nodiscard]] warpload_memory memory() {
    return {.data = segment_->data(),
            .bytes = segment_->bytes(),
            .release = [](void* self) { ++static_cast<LentBytes*>(self)->released_; },
            .release_data = this};
  }
  [[nodiscard]] int released() const noexcept { return released_; }
  [[nodiscard]] std::byte* data() const noexcept { return segment_->data(); }

 private:
  std::shared_ptr<Segment> segment_;
  int released_ = 0;
};

TEST_P(CInterfaceTest, MemoryOfTheCallersIsFilledAndReleasedOnceAfterLoadAndExports) {
  const CCheckpoint checkpoint = open();
  warpload_load_options options = {.struct_size = sizeof options, .dtype = WARPLOAD_DTYPE_F32};
  const auto bytes = get<std::uint64_t>(warpload_arena_bytes, loader().get(), checkpoint.get(), &options);
  LentBytes lent(GetParam(), bytes);
  options.memory = lent.memory();
  options.memory.bytes = bytes;  // no more is needed
  CLoad result = load(checkpoint, options);
  EXPECT_EQ(tensor_of(result, 0).data, lent.data());
  EXPECT_TRUE(read_in_c(result, 1) == cast_bytes(bf16_pattern(3'000'003), DType::bf16, DType::f32));
  auto* const exported = reinterpret_cast<dlpack_abi::ManagedTensorVersioned*>(
      get<DLManagedTensorVersioned*>(warpload_load_dlpack, result.get(), std::size_t{1}));
  result.reset();
  EXPECT_EQ(lent.released(), 0);
  exported->deleter(exported);
  EXPECT_EQ(lent.released(), 1);
}

TEST_P(CInterfaceTest, MemoryThatNothingWentToIsReleasedWithTheLoad) {
  LentBytes lent(GetParam(), 256);
  CLoad result = load(open({{"empty", "F32", {0}, ""}}), {.memory = lent.memory()});
  EXPECT_EQ(lent.released(), 0);
  result.reset();
  EXPECT_EQ(lent.released(), 1);
}

TEST_P(CInterfaceTest, MemoryOfALoadThatCannotStartStaysTheCallers) {
  LentBytes lent(GetParam(), kMiB);
  const warpload_load_options options = {.struct_size = sizeof options, .memory = lent.memory()};
  warpload_load* load = nullptr;
  const CCheckpoint checkpoint = open();
  const COutcome outcome = call(warpload_load_start, loader().get(), checkpoint.get(), &options, &load);
  EXPECT_EQ(outcome.status, WARPLOAD_OUT_OF_MEMORY);
  EXPECT_NE(std::string(outcome.details().reason).find("1048576"), std::string::npos) << outcome.details().message;
  EXPECT_EQ(load, nullptr);
  EXPECT_EQ(lent.released(), 0);
}

TEST_P(CInterfaceTest, ExportsOutliveLoadLoaderAndCheckpoint) {
  dlpack_abi::ManagedTensorVersioned* exported = nullptr;
  {
    const std::string library = testing::driver_library(GetParam());
    const CLoader own = make_loader_in_c({.device = device(), .driver_library = library.c_str()});
    const CLoad result = start_in_c(own, open());
    exported = reinterpret_cast<dlpack_abi::ManagedTensorVersioned*>(
        get<DLManagedTensorVersioned*>(warpload_load_dlpack, result.get(), std::size_t{2}));
  }
  EXPECT_EQ(exported->tensor.device.device_type, is_cuda() ? dlpack_abi::kCuda : dlpack_abi::kCpu);
  EXPECT_EQ(exported->tensor.dtype.code, dlpack_abi::kFloat);
  EXPECT_EQ(exported->tensor.dtype.bits, 32);
  ASSERT_EQ(exported->tensor.ndim, 1);
  EXPECT_EQ(exported->tensor.shape[0], 700'003);
  std::string bytes(700'003 * 4, '?');
  testing::open_device(GetParam())
      .read(static_cast<const std::byte*>(exported->tensor.data), reinterpret_cast<std::byte*>(bytes.data()),
            bytes.size());
  EXPECT_TRUE(bytes == f32_pattern(700'003));
  exported->deleter(exported);
}

TEST_P(CInterfaceTest, HandlesMayBeFreedInAnyOrderWhileTheLoadRuns) {
  const std::string library = testing::driver_library(GetParam());
  CLoader own = make_loader_in_c({.device = device(), .driver_library = library.c_str()});
  CCheckpoint checkpoint = checkpoint_of({.delay = milliseconds(1)});
  const CLoad result = start_in_c(own, checkpoint);
  checkpoint.reset();
  own.reset();
  EXPECT_TRUE(read_in_c(result, 1) == bf16_pattern(3'000'003));
}

// ---- waiting, and what ends a load ----------------------------------------------------------------------------------

TEST_P(CInterfaceTest, WaitTimesOutWithoutAnErrorWhileTheLoadGoesOn) {
  const CLoad result = start_in_c(loader(), checkpoint_of({.delay = milliseconds(20)}));
  EXPECT_EQ(call(warpload_load_wait, result.get(), std::int64_t{0}).status, WARPLOAD_TIMEOUT);
  EXPECT_EQ(call(warpload_load_wait, result.get(), std::int64_t{1}).status, WARPLOAD_TIMEOUT);
  EXPECT_EQ(call(warpload_load_wait, result.get(), std::int64_t{60'000}).status, WARPLOAD_OK);
  EXPECT_EQ(call(warpload_load_wait, result.get(), std::int64_t{0}).status, WARPLOAD_OK);
}

TEST_P(CInterfaceTest, ProgressEndsWithEveryByteThatIsRead) {
  const CLoad result = load(open(), {.no_views = 1});
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  EXPECT_EQ(call(warpload_load_progress, result.get(), &done, &total).status, WARPLOAD_OK);
  EXPECT_EQ(total, 24 + 6'000'006 + 2'800'012 + 4U);
  EXPECT_EQ(done, total);
}

TEST_P(CInterfaceTest, TraceTellsOfEveryByteThatIsReadWhereTheOptionsAskForIt) {
  const CLoad silent = load(open(), {.no_views = 1});
  const CLoad result = load(open(), {.no_views = 1, .trace_events = 1000});
  warpload_trace_event* nowhere = nullptr;
  std::size_t count = 1;
  std::uint64_t lost = 1;
  EXPECT_EQ(call(warpload_load_trace, silent.get(), nowhere, std::size_t{0}, &count, &lost).status, WARPLOAD_OK);
  EXPECT_EQ(count + lost, 0U);
  EXPECT_EQ(call(warpload_load_trace, result.get(), nowhere, std::size_t{0}, &count, &lost).status, WARPLOAD_OK);
  EXPECT_EQ(lost, 0U);
  std::vector<warpload_trace_event> events(count + 1, warpload_trace_event{.begin_ns = 1, .kind = -1});
  EXPECT_EQ(call(warpload_load_trace, result.get(), events.data(), count, &count, &lost).status, WARPLOAD_OK);
  EXPECT_EQ(events.back().kind, -1);  // behind the last
  events.pop_back();
  std::uint64_t read = 0;
  for (const warpload_trace_event& event : events) {
    EXPECT_LE(event.begin_ns, event.end_ns);
    if (event.kind == WARPLOAD_TRACE_READING) read += event.bytes;
  }
  EXPECT_EQ(read, 24 + 6'000'006 + 2'800'012 + 4U);
}

TEST_P(CInterfaceTest, CancelledLoadSaysSoAndReadsNoFurther) {
  const CLoad result = start_in_c(loader(), checkpoint_of({.delay = milliseconds(20)}));
  EXPECT_EQ(call(warpload_load_cancel, result.get()).status, WARPLOAD_OK);
  const COutcome outcome = call(warpload_load_wait, result.get(), kForever);
  EXPECT_EQ(outcome.status, WARPLOAD_CANCELLED);
  EXPECT_STREQ(outcome.details().reason, "the load was cancelled");
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  EXPECT_EQ(call(warpload_load_progress, result.get(), &done, &total).status, WARPLOAD_OK);
  EXPECT_LT(done, total);
  std::string bytes(24, '?');
  EXPECT_EQ(call(warpload_load_read, result.get(), std::size_t{0}, static_cast<void*>(bytes.data()), std::uint64_t{24})
                .status,
            WARPLOAD_CANCELLED);
}

TEST_P(CInterfaceTest, CancelAfterTheEndChangesNothing) {
  const CLoad result = load(open());
  EXPECT_EQ(call(warpload_load_cancel, result.get()).status, WARPLOAD_OK);
  EXPECT_EQ(read_in_c(result, 0), pattern_bytes(24));
}

TEST_P(CInterfaceTest, DeadlineCancelsTheLoad) {
  const CLoad result = start_in_c(loader(), checkpoint_of({.delay = milliseconds(20)}), {.deadline_ms = 1});
  const COutcome outcome = call(warpload_load_wait, result.get(), kForever);
  EXPECT_EQ(outcome.status, WARPLOAD_CANCELLED);
  EXPECT_STREQ(outcome.details().reason, "the load was cancelled: its deadline has passed");
}

TEST_P(CInterfaceTest, DeadlineThatIsFarAwayChangesNothing) {
  for (const std::uint64_t deadline : {std::uint64_t{600'000}, UINT64_MAX, UINT64_MAX / 1'000'000}) {
    EXPECT_EQ(read_in_c(load(open(), {.deadline_ms = deadline}), 0), pattern_bytes(24));
  }
}

TEST_P(CInterfaceTest, FailedReadNamesFileTensorBytesAndErrno) {
  const CLoad result = start_in_c(loader(), checkpoint_of({.path = "broken.safetensors", .fail_at_read = 3}));
  const COutcome outcome = call(warpload_load_wait, result.get(), kForever);
  EXPECT_EQ(outcome.status, WARPLOAD_IO);
  EXPECT_STREQ(outcome.details().path, "broken.safetensors");
  EXPECT_STREQ(outcome.details().reason, "injected failure");
  EXPECT_STRNE(outcome.details().tensor, "");
  EXPECT_EQ(outcome.details().has_range, 1);
  EXPECT_LT(outcome.details().range_begin, outcome.details().range_end);
  EXPECT_EQ(outcome.details().system_error, EIO);
  EXPECT_EQ(outcome.details().driver_error, 0);
  EXPECT_NE(std::string(outcome.details().message).find("broken.safetensors: tensor '"), std::string::npos);
  DLManagedTensorVersioned* exported = nullptr;
  EXPECT_EQ(call(warpload_load_dlpack, result.get(), std::size_t{0}, &exported).status, WARPLOAD_IO);
}

TEST_P(CInterfaceTest, FreeingALoadThatRunsStopsItsReading) {
  const auto source = std::make_shared<MemorySource>(testing::safetensors_file(assorted()),
                                                     MemorySource::Options{.delay = milliseconds(10)});
  const CCheckpoint checkpoint(new warpload_checkpoint(Checkpoint::from_sources({source})));
  start_in_c(loader(), checkpoint).reset();
  EXPECT_LT(source->read_count(), 18U);  // the whole would be twenty or more
}

TEST_P(CInterfaceTest, SeveralThreadsMayUseOneLoad) {
  const CLoad result = start_in_c(loader(), checkpoint_of({.delay = milliseconds(1)}));
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < 3; ++index) {
    threads.emplace_back([&, index] { EXPECT_TRUE(read_in_c(result, index) == assorted()[index].data); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(CInterfaceTest, ChildAfterForkMayFreeWhatItsParentGoesOnWith) {
  LentBytes lent(GetParam(), 16 * kMiB);
  CCheckpoint checkpoint = checkpoint_of({.delay = milliseconds(5)});
  CLoad result = start_in_c(loader(), checkpoint, {.memory = lent.memory()});
  const pid_t child = ::fork();
  if (child == 0) {
    result.reset();
    checkpoint.reset();
    release_loader();
    ::_exit(lent.released());
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(read_in_c(result, 1) == bf16_pattern(3'000'003));
}

WARPLOAD_ON_ALL_BACKENDS(CInterfaceTest);

// ---- with a driver --------------------------------------------------------------------------------------------------

class CudaCInterfaceTest : public CInterfaceTest {};

TEST_P(CudaCInterfaceTest, GpuThatDoesNotExistIsADeviceError) {
  const std::string library = testing::driver_library(GetParam());
  const warpload_loader_options options = {
      .struct_size = sizeof options, .device = {WARPLOAD_DEVICE_CUDA, 99}, .driver_library = library.c_str()};
  warpload_loader* loader = nullptr;
  const COutcome outcome = call(warpload_loader_create, &options, &loader);
  EXPECT_EQ(outcome.status, WARPLOAD_DEVICE);
  EXPECT_NE(std::string(outcome.details().reason).find("cuda:99"), std::string::npos);
}

WARPLOAD_ON_CUDA_BACKENDS(CudaCInterfaceTest);

class FakeCudaCInterfaceTest : public CInterfaceTest {};

TEST_P(FakeCudaCInterfaceTest, DriversErrorsCarryTheirResult) {
  const CCheckpoint checkpoint = open();
  testing::fail_call("cuMemcpyHtoDAsync_v2", 2, cuda::kUnknown);
  const CLoad result = start_in_c(loader(), checkpoint);
  const COutcome outcome = call(warpload_load_wait, result.get(), kForever);
  EXPECT_EQ(outcome.status, WARPLOAD_DEVICE);
  EXPECT_EQ(outcome.details().driver_error, cuda::kUnknown);
  EXPECT_EQ(outcome.details().system_error, 0);
  EXPECT_STRNE(outcome.details().tensor, "");
}

TEST_P(FakeCudaCInterfaceTest, LoadWhoseCopiesHaveNotRunHasNotEnded) {
  testing::pause_streams();
  const CLoad result = start_in_c(loader(), open({{"small", "U8", {4}, "abcd"}}));
  EXPECT_EQ(call(warpload_load_wait, result.get(), std::int64_t{100}).status, WARPLOAD_TIMEOUT);
  testing::resume_streams();
  EXPECT_EQ(read_in_c(result, 0), "abcd");
}

TEST_P(FakeCudaCInterfaceTest, MemoryThatTheCallersStreamStillWritesIsFilledAfterwards) {
  testing::reset({.delay = milliseconds(20)});
  CallerStream stream(GetParam());
  LentBytes lent(GetParam(), 9 * kMiB);
  const CCheckpoint checkpoint = open();
  const std::string garbage(9 * kMiB, '\xEE');
  for (int round = 0; round < 10; ++round) stream.copy_to_device(lent.data(), garbage);
  const CLoad result = load(checkpoint, {.memory = lent.memory(), .stream = stream.handle()});
  EXPECT_TRUE(read_in_c(result, 1) == bf16_pattern(3'000'003));
}

TEST_P(FakeCudaCInterfaceTest, MemoryThatTheGpuLacksIsRefusedWithTheSizes) {
  testing::reset({.device_bytes = 4 * kMiB});
  warpload_load* load = nullptr;
  const CCheckpoint checkpoint = open();
  const warpload_load_options* defaults = nullptr;
  const COutcome outcome = call(warpload_load_start, loader().get(), checkpoint.get(), defaults, &load);
  EXPECT_EQ(outcome.status, WARPLOAD_OUT_OF_MEMORY);
  EXPECT_NE(std::string(outcome.details().reason).find(std::to_string(4 * kMiB)), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Backends, FakeCudaCInterfaceTest, ::testing::Values(BackendKind::kFakeCuda),
                         testing::backend_test_name);

}  // namespace
}  // namespace warpload
