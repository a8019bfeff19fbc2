// The C interface where it is used wrongly, and what of it needs no load.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "cpp/support/load_cases.hpp"
#include "cpp/support/owned_c_handles.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/dtype.hpp"

// c_interface_header.c
extern "C" void load_conv_in_weight_in_c(const char* path, unsigned char* bytes);

namespace warpload {
namespace {

using testing::bf16_pattern;
using testing::call;
using testing::cast_bytes;
using testing::CCheckpoint;
using testing::CLoad;
using testing::CLoader;
using testing::COutcome;
using testing::f32_pattern;
using testing::finished;
using testing::get;
using testing::make_loader_in_c;
using testing::names_of;
using testing::open_in_c;
using testing::read_in_c;
using testing::safetensors_file;
using testing::start_in_c;
using testing::TemporaryDirectory;

std::vector<testing::TensorSpec> two_tensors() {
  return {{"conv_in.weight", "F32", {300}, f32_pattern(300)}, {"bias", "BF16", {4}, bf16_pattern(4)}};
}

class CArgumentsTest : public ::testing::Test {
 protected:
  // What `function(arguments..., &result, &error)` fails with; the result has to be null or zero.
  template <class Result, class Function, class... Arguments>
  static COutcome refused(Function* function, Arguments... arguments) {
    Result result;
    std::memset(static_cast<void*>(&result), 0x5A, sizeof result);
    COutcome outcome = call(function, arguments..., &result);
    EXPECT_EQ(result, Result{});
    return outcome;
  }

  COutcome start_refused(const warpload_load_options& options) {
    return refused<warpload_load*>(warpload_load_start, loader_.get(), checkpoint_.get(), &options);
  }

  static COutcome create_refused(const warpload_loader_options& options) {
    return refused<warpload_loader*>(warpload_loader_create, &options);
  }

  static void expect_invalid(const COutcome& outcome, const std::string& reason) {
    EXPECT_EQ(outcome.status, WARPLOAD_INVALID_ARGUMENT);
    EXPECT_EQ(outcome.details().reason, reason);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.write("model.safetensors", safetensors_file(two_tensors()));
  CCheckpoint checkpoint_ = open_in_c(path_);
  CLoader loader_ = make_loader_in_c();
};

TEST_F(CArgumentsTest, ExampleOfTheHeaderLoadsATensor) {
  std::string bytes(600, '?');
  load_conv_in_weight_in_c(path_.c_str(), reinterpret_cast<unsigned char*>(bytes.data()));
  EXPECT_EQ(bytes, cast_bytes(f32_pattern(300), DType::f32, DType::bf16));
}

TEST_F(CArgumentsTest, VersionsAreThoseOfTheBuild) {
  EXPECT_STREQ(warpload_version(), WARPLOAD_EXPECTED_VERSION);
  EXPECT_EQ(warpload_abi_version(), WARPLOAD_ABI_VERSION);
}

TEST_F(CArgumentsTest, DTypesHaveTheNamesAndBitsOfCpp) {
  for (int index = 0; index < kDTypeCount; ++index) {
    const DType dtype = static_cast<DType>(index);
    EXPECT_EQ(warpload_dtype_name(index + 1), dtype_name(dtype));
    EXPECT_EQ(warpload_dtype_bits(index + 1), dtype_bits(dtype));
  }
  for (const warpload_dtype none : {WARPLOAD_DTYPE_KEEP + 0, -1, kDTypeCount + 1, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(warpload_dtype_name(none), nullptr);
    EXPECT_EQ(warpload_dtype_bits(none), 0U);
  }
}

TEST_F(CArgumentsTest, NullHandlesMayBeFreed) {
  warpload_checkpoint_free(nullptr);
  warpload_loader_free(nullptr);
  warpload_load_free(nullptr);
  warpload_error_free(nullptr);
}

TEST_F(CArgumentsTest, NullErrorReadsAsEmpty) {
  const warpload_error_details* details = warpload_error_get(nullptr);
  EXPECT_EQ(details->status, WARPLOAD_OK);
  for (const char* text : {details->message, details->reason, details->path, details->tensor, details->cure}) {
    EXPECT_STREQ(text, "");
  }
  EXPECT_EQ(details->has_range + details->system_error + details->driver_error, 0);
}

TEST_F(CArgumentsTest, NullHandlesAreInvalidArgumentsThatAreNamed) {
  const warpload_checkpoint* no_checkpoint = nullptr;
  const warpload_loader* no_loader = nullptr;
  const warpload_load_options* no_options = nullptr;
  warpload_load* no_load = nullptr;
  std::uint64_t* no_number = nullptr;
  void* nowhere = nullptr;
  using Info = const warpload_tensor_info*;
  using Tensor = const warpload_tensor*;
  constexpr std::size_t kFirst = 0;
  expect_invalid(refused<Info>(warpload_checkpoint_tensor, no_checkpoint, kFirst), "checkpoint is null");
  expect_invalid(refused<Info>(warpload_checkpoint_find, no_checkpoint, "a"), "checkpoint is null");
  expect_invalid(refused<std::uint64_t>(warpload_arena_bytes, no_loader, checkpoint_.get(), no_options),
                 "loader is null");
  expect_invalid(refused<std::uint64_t>(warpload_arena_bytes, loader_.get(), no_checkpoint, no_options),
                 "checkpoint is null");
  expect_invalid(refused<warpload_load*>(warpload_load_start, no_loader, checkpoint_.get(), no_options),
                 "loader is null");
  expect_invalid(refused<warpload_load*>(warpload_load_start, loader_.get(), no_checkpoint, no_options),
                 "checkpoint is null");
  expect_invalid(call(warpload_load_wait, no_load, std::int64_t{0}), "load is null");
  expect_invalid(call(warpload_load_progress, no_load, no_number, no_number), "load is null");
  warpload_trace_event* no_events = nullptr;
  std::size_t* no_count = nullptr;
  expect_invalid(call(warpload_load_trace, no_load, no_events, std::size_t{0}, no_count, no_number), "load is null");
  expect_invalid(call(warpload_load_cancel, no_load), "load is null");
  expect_invalid(refused<Tensor>(warpload_load_tensor, no_load, kFirst), "load is null");
  expect_invalid(refused<Tensor>(warpload_load_find, no_load, "a"), "load is null");
  expect_invalid(call(warpload_load_read, no_load, kFirst, nowhere, std::uint64_t{0}), "load is null");
  expect_invalid(refused<DLManagedTensorVersioned*>(warpload_load_dlpack, no_load, kFirst), "load is null");
  EXPECT_EQ(warpload_checkpoint_tensor_count(nullptr), 0U);
  EXPECT_EQ(warpload_load_tensor_count(nullptr), 0U);
}

TEST_F(CArgumentsTest, NullResultsAreInvalidArguments) {
  const char* const paths[] = {path_.c_str()};
  const CLoad load = finished(start_in_c(loader_, checkpoint_));
  const auto expect_refused = [](const COutcome& outcome) { expect_invalid(outcome, "out is null"); };
  warpload_checkpoint** no_checkpoint = nullptr;
  warpload_loader** no_loader = nullptr;
  warpload_load** no_load = nullptr;
  std::uint64_t* no_number = nullptr;
  const warpload_tensor_info** no_info = nullptr;
  const warpload_tensor** no_tensor = nullptr;
  DLManagedTensorVersioned** no_export = nullptr;
  const warpload_loader_options* no_loader_options = nullptr;
  const warpload_load_options* no_load_options = nullptr;
  constexpr std::size_t kFirst = 0;
  expect_refused(call(warpload_checkpoint_open, paths, std::size_t{1}, no_checkpoint));
  expect_refused(call(warpload_checkpoint_tensor, checkpoint_.get(), kFirst, no_info));
  expect_refused(call(warpload_checkpoint_find, checkpoint_.get(), "bias", no_info));
  expect_refused(call(warpload_loader_create, no_loader_options, no_loader));
  expect_refused(call(warpload_arena_bytes, loader_.get(), checkpoint_.get(), no_load_options, no_number));
  expect_refused(call(warpload_load_start, loader_.get(), checkpoint_.get(), no_load_options, no_load));
  expect_refused(call(warpload_load_tensor, load.get(), kFirst, no_tensor));
  expect_refused(call(warpload_load_find, load.get(), "bias", no_tensor));
  expect_refused(call(warpload_load_dlpack, load.get(), kFirst, no_export));
}

TEST_F(CArgumentsTest, OtherNullPointersAreInvalidArguments) {
  const char* const no_path[] = {path_.c_str(), nullptr};
  const char* const* no_paths = nullptr;
  const char* no_name = nullptr;
  const warpload_tensor_dtype no_tensor = {nullptr, WARPLOAD_DTYPE_F32};
  const warpload_tensor_dtype no_tensor_to_keep = {nullptr, WARPLOAD_DTYPE_KEEP};
  const CLoad load = finished(start_in_c(loader_, checkpoint_));
  using Tensor = const warpload_tensor*;
  expect_invalid(refused<warpload_checkpoint*>(warpload_checkpoint_open, no_path, std::size_t{2}), "a path is null");
  expect_invalid(refused<warpload_checkpoint*>(warpload_checkpoint_open, no_paths, std::size_t{2}), "paths is null");
  expect_invalid(refused<warpload_checkpoint*>(warpload_checkpoint_open, no_paths, std::size_t{0}),
                 "a checkpoint needs a shard");
  expect_invalid(refused<Tensor>(warpload_load_find, load.get(), no_name), "name is null");
  expect_invalid(start_refused({.struct_size = sizeof(warpload_load_options), .name_count = 1}), "names is null");
  expect_invalid(start_refused({.struct_size = sizeof(warpload_load_options), .names = &no_name, .name_count = 1}),
                 "a name in names is null");
  expect_invalid(start_refused({.struct_size = sizeof(warpload_load_options), .tensor_dtype_count = 1}),
                 "tensor_dtypes is null");
  for (const auto* dtypes : {&no_tensor, &no_tensor_to_keep}) {
    expect_invalid(
        start_refused({.struct_size = sizeof(warpload_load_options), .tensor_dtypes = dtypes, .tensor_dtype_count = 1}),
        "a name in tensor_dtypes is null");
  }
  void* nowhere = nullptr;
  expect_invalid(call(warpload_load_read, load.get(), std::size_t{0}, nowhere, std::uint64_t{1200}),
                 "destination is null");
}

TEST_F(CArgumentsTest, DestinationThatIsTooSmallIsRefusedAndNotWritten) {
  const CLoad load = finished(start_in_c(loader_, checkpoint_));
  std::string bytes(1200, '?');
  const COutcome outcome =
      call(warpload_load_read, load.get(), std::size_t{0}, static_cast<void*>(bytes.data()), std::uint64_t{1199});
  EXPECT_EQ(outcome.status, WARPLOAD_INVALID_ARGUMENT);
  EXPECT_STREQ(outcome.details().tensor, "conv_in.weight");
  EXPECT_EQ(bytes, std::string(1200, '?'));
}

TEST_F(CArgumentsTest, PointersOfProgressMayBeNull) {
  const CLoad load = finished(start_in_c(loader_, checkpoint_, {.no_views = 1}));
  std::uint64_t* no_number = nullptr;
  std::uint64_t total = 0;
  EXPECT_EQ(call(warpload_load_progress, load.get(), no_number, &total).status, WARPLOAD_OK);
  EXPECT_EQ(total, 1208U);
}

TEST_F(CArgumentsTest, PointersOfATraceMayBeNullWhereNothingIsToGoThere) {
  const CLoad load = finished(start_in_c(loader_, checkpoint_, {.no_views = 1, .trace_events = 100}));
  warpload_trace_event* nowhere = nullptr;
  std::size_t* no_count = nullptr;
  std::size_t count = 0;
  std::uint64_t* no_number = nullptr;
  EXPECT_EQ(call(warpload_load_trace, load.get(), nowhere, std::size_t{0}, no_count, no_number).status, WARPLOAD_OK);
  EXPECT_EQ(call(warpload_load_trace, load.get(), nowhere, std::size_t{0}, &count, no_number).status, WARPLOAD_OK);
  EXPECT_GT(count, 0U);
  expect_invalid(call(warpload_load_trace, load.get(), nowhere, std::size_t{1}, &count, no_number), "events is null");
  EXPECT_EQ(count, 0U);
}

// ---- structs of options ---------------------------------------------------------------------------------------------

// A struct of a later version.
struct LongerLoadOptions {
  warpload_load_options known;
  std::uint64_t unknown[2];
};

TEST_F(CArgumentsTest, StructWithoutItsSizeIsRefused) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{4}, std::size_t{60}, std::size_t{1} << 40, SIZE_MAX}) {
    expect_invalid(start_refused({.struct_size = size}),
                   "struct_size of warpload_load_options is " + std::to_string(size));
    expect_invalid(create_refused({.struct_size = size}),
                   "struct_size of warpload_loader_options is " + std::to_string(size));
  }
}

TEST_F(CArgumentsTest, StructOfAnOlderVersionTakesTheDefaultsForWhatItLacks) {
  const char* const names[] = {"bias"};
  warpload_load_options options = {.names = names, .name_count = 1, .dtype = WARPLOAD_DTYPE_F32, .no_views = 1};
  options.struct_size = offsetof(warpload_load_options, filter);
  const CLoad load =
      finished(CLoad(get<warpload_load*>(warpload_load_start, loader_.get(), checkpoint_.get(), &options)));
  EXPECT_EQ(names_of(load), std::vector<std::string>{"bias"});
  EXPECT_EQ(read_in_c(load, 0), bf16_pattern(4));
}

TEST_F(CArgumentsTest, StructOfALaterVersionIsReadWhereItsNewFieldsAreZero) {
  LongerLoadOptions options = {};
  options.known.struct_size = sizeof options;
  options.known.dtype = WARPLOAD_DTYPE_F32;
  const CLoad load =
      finished(CLoad(get<warpload_load*>(warpload_load_start, loader_.get(), checkpoint_.get(), &options.known)));
  EXPECT_EQ(read_in_c(load, 1), cast_bytes(bf16_pattern(4), DType::bf16, DType::f32));
}

TEST_F(CArgumentsTest, StructOfALaterVersionIsRefusedWhereItAsksForWhatIsNotKnown) {
  LongerLoadOptions options = {};
  options.known.struct_size = sizeof options;
  options.unknown[1] = 1;
  expect_invalid(start_refused(options.known),
                 "warpload_load_options has fields that this version of the library does not know");
}

TEST_F(CArgumentsTest, ValuesThatMeanNothingAreRefused) {
  constexpr std::size_t kSize = sizeof(warpload_loader_options);
  expect_invalid(create_refused({.struct_size = kSize, .device = {7, 0}}),
                 "the device's kind is 7, which means nothing");
  expect_invalid(create_refused({.struct_size = kSize, .device = {WARPLOAD_DEVICE_HOST, 1}}),
                 "the host has no number 1");
  expect_invalid(create_refused({.struct_size = kSize, .direct_io = 3}), "direct_io is 3, which means nothing");
  expect_invalid(create_refused({.struct_size = kSize, .device_casts = -1}), "device_casts is -1, which means nothing");
  expect_invalid(create_refused({.struct_size = kSize, .threads = SIZE_MAX}), "there are too many threads");
  expect_invalid(create_refused({.struct_size = kSize, .slot_bytes = 5}), "slot_bytes is 5, not a multiple of 2 MiB");
  expect_invalid(start_refused({.struct_size = sizeof(warpload_load_options), .dtype = 23}),
                 "a dtype is 23, which means nothing");
  const warpload_tensor_dtype dtype = {"bias", -1};
  expect_invalid(
      start_refused({.struct_size = sizeof(warpload_load_options), .tensor_dtypes = &dtype, .tensor_dtype_count = 1}),
      "a dtype is -1, which means nothing");
}

TEST_F(CArgumentsTest, MemoryWithoutAnAddressOrItsAlignmentIsRefusedAndNotReleased) {
  int released = 0;
  const warpload_release count = [](void* user_data) { ++*static_cast<int*>(user_data); };
  alignas(256) std::byte bytes[4096];
  for (const warpload_memory& memory :
       {warpload_memory{nullptr, 4096, count, &released}, warpload_memory{nullptr, 0, count, &released},
        warpload_memory{bytes + 64, 4032, count, &released}}) {
    EXPECT_EQ(start_refused({.struct_size = sizeof(warpload_load_options), .memory = memory}).status,
              WARPLOAD_INVALID_ARGUMENT);
  }
  EXPECT_EQ(released, 0);
}

TEST_F(CArgumentsTest, SizeOfAnArenaIgnoresTheMemoryOfTheOptions) {
  const warpload_load_options options = {.struct_size = sizeof options, .memory = {nullptr, 7, nullptr, nullptr}};
  EXPECT_EQ(get<std::uint64_t>(warpload_arena_bytes, loader_.get(), checkpoint_.get(), &options), 1280 + 256U);
}

// ---- errors ---------------------------------------------------------------------------------------------------------

TEST_F(CArgumentsTest, FileThatIsMissingIsAnIoErrorWithErrnoAndPath) {
  const std::string missing = (directory_ / "missing.safetensors").string();
  const char* const paths[] = {missing.c_str()};
  const COutcome outcome = refused<warpload_checkpoint*>(warpload_checkpoint_open, paths, std::size_t{1});
  EXPECT_EQ(outcome.status, WARPLOAD_IO);
  EXPECT_EQ(outcome.details().path, missing);
  EXPECT_EQ(outcome.details().system_error, ENOENT);
  EXPECT_EQ(outcome.details().has_range, 0);
}

TEST_F(CArgumentsTest, TruncatedFileIsAFormatErrorWithTensorBytesAndCure) {
  const std::uint64_t size = std::filesystem::file_size(path_);
  std::filesystem::resize_file(path_, size - 5);
  const char* const paths[] = {path_.c_str()};
  const COutcome outcome = refused<warpload_checkpoint*>(warpload_checkpoint_open, paths, std::size_t{1});
  EXPECT_EQ(outcome.status, WARPLOAD_FORMAT);
  EXPECT_EQ(outcome.details().path, path_.string());
  EXPECT_STREQ(outcome.details().tensor, "bias");
  EXPECT_EQ(outcome.details().has_range, 1);
  EXPECT_EQ(outcome.details().range_begin, size - 5);
  EXPECT_EQ(outcome.details().range_end, size);
  EXPECT_STRNE(outcome.details().cure, "");
  EXPECT_EQ(outcome.details().system_error, 0);
}

TEST_F(CArgumentsTest, LibraryThatIsNoDriverIsADeviceError) {
  const COutcome outcome = create_refused({.struct_size = sizeof(warpload_loader_options),
                                           .device = {WARPLOAD_DEVICE_CUDA, 0},
                                           .driver_library = "/nowhere/libcuda.so.1"});
  EXPECT_EQ(outcome.status, WARPLOAD_DEVICE);
  EXPECT_NE(std::string(outcome.details().reason).find("/nowhere/libcuda.so.1"), std::string::npos);
}

TEST_F(CArgumentsTest, CastThatIsNotSupportedNamesTheTensor) {
  const warpload_tensor_dtype dtype = {"bias", WARPLOAD_DTYPE_I32};
  const COutcome outcome =
      start_refused({.struct_size = sizeof(warpload_load_options), .tensor_dtypes = &dtype, .tensor_dtype_count = 1});
  expect_invalid(outcome, "no cast from BF16 to I32");
  EXPECT_STREQ(outcome.details().tensor, "bias");
}

TEST_F(CArgumentsTest, SuccessSetsTheErrorToNull) {
  warpload_error* error = nullptr;
  const warpload_tensor_info* info = nullptr;
  EXPECT_EQ(warpload_checkpoint_find(checkpoint_.get(), "nobody", &info, &error), WARPLOAD_INVALID_ARGUMENT);
  const testing::CError owned(error);
  EXPECT_EQ(warpload_checkpoint_find(checkpoint_.get(), "bias", &info, &error), WARPLOAD_OK);
  EXPECT_EQ(error, nullptr);
}

// Callbacks in C throw nothing, but those in other languages may.
TEST_F(CArgumentsTest, ExceptionsThatAreNoneOfOursBecomeInternalErrors) {
  const COutcome standard =
      start_refused({.struct_size = sizeof(warpload_load_options),
                     .filter = [](const warpload_tensor_info*, void*) -> std::int32_t { throw std::bad_alloc(); }});
  EXPECT_EQ(standard.status, WARPLOAD_INTERNAL);
  EXPECT_STREQ(standard.details().message, std::bad_alloc().what());
  const COutcome unknown =
      start_refused({.struct_size = sizeof(warpload_load_options),
                     .filter = [](const warpload_tensor_info*, void*) -> std::int32_t { throw 7; }});
  EXPECT_EQ(unknown.status, WARPLOAD_INTERNAL);
  EXPECT_STREQ(unknown.details().reason, "an exception of an unknown kind");
}

}  // namespace
}  // namespace warpload
