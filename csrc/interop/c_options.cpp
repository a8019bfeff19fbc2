#include "interop/c_options.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "base/process_owned.hpp"
#include "interop/c_error.hpp"
#include "interop/c_values.hpp"

namespace warpload::c_interface {
namespace {

// No struct of options will ever be larger: what claims to be was not filled.
constexpr std::size_t kLargestStruct = 4096;

static_assert(static_cast<int>(DirectIo::kAuto) == WARPLOAD_DIRECT_IO_AUTO);
static_assert(static_cast<int>(DirectIo::kNever) == WARPLOAD_DIRECT_IO_NEVER);
static_assert(static_cast<int>(DirectIo::kAlways) == WARPLOAD_DIRECT_IO_ALWAYS);
static_assert(static_cast<int>(DeviceCasts::kAuto) == WARPLOAD_DEVICE_CASTS_AUTO);
static_assert(static_cast<int>(DeviceCasts::kHost) == WARPLOAD_DEVICE_CASTS_HOST);
static_assert(static_cast<int>(DeviceCasts::kDevice) == WARPLOAD_DEVICE_CASTS_DEVICE);

[[noreturn]] void refuse(std::string reason, std::string cure = {}) {
  throw InvalidArgumentError({.reason = std::move(reason), .cure = std::move(cure)});
}

[[noreturn]] void refuse_value(const char* field, std::int64_t value) {
  refuse(std::string(field) + " is " + std::to_string(value) + ", which means nothing");
}

// What the caller's struct holds; zero where it is of an older version, and shorter. One of a newer version may be
// longer, but must not ask there for what is not known here.
//
// Fields are added in multiples of eight bytes, without holes, so no size in between has ever been a struct's.
template <class Options>
Options read_struct(const Options* given, const char* name) {
  static_assert(std::is_trivially_copyable_v<Options> && sizeof(Options) % sizeof(std::size_t) == 0);
  Options options{};
  if (given == nullptr) return options;
  const std::size_t size = given->struct_size;
  if (size < sizeof(std::size_t) || size > kLargestStruct || size % sizeof(std::size_t) != 0) {
    refuse("struct_size of " + std::string(name) + " is " + std::to_string(size),
           "set it to sizeof(" + std::string(name) + ")");
  }
  const std::span bytes(reinterpret_cast<const std::byte*>(given), size);
  const auto unknown = bytes.subspan(std::min(size, sizeof options));
  if (std::any_of(unknown.begin(), unknown.end(), [](std::byte byte) { return byte != std::byte{}; })) {
    refuse(std::string(name) + " has fields that this version of the library does not know",
           "update warpload, or leave them zero");
  }
  std::memcpy(&options, given, std::min(size, sizeof options));
  return options;
}

template <class Value>
std::span<const Value> read_array(const Value* first, std::size_t count, const char* name) {
  if (count != 0) static_cast<void>(required(first, name));
  return {first, count};
}

template <class Enumeration>
Enumeration read_enumeration(const char* field, std::int32_t value, Enumeration last) {
  if (value < 0 || value > static_cast<std::int32_t>(last)) refuse_value(field, value);
  return static_cast<Enumeration>(value);
}

// Nothing for WARPLOAD_DTYPE_KEEP.
std::optional<DType> read_dtype(warpload_dtype dtype) {
  if (dtype == WARPLOAD_DTYPE_KEEP) return std::nullopt;
  if (!is_dtype(dtype)) refuse_value("a dtype", dtype);
  return from_c(dtype);
}

Device read_device(const warpload_device& device, const char* driver_library) {
  if (device.kind == WARPLOAD_DEVICE_CUDA) {
    return driver_library != nullptr ? Device::cuda(device.ordinal, driver_library) : Device::cuda(device.ordinal);
  }
  if (device.kind != WARPLOAD_DEVICE_HOST) refuse_value("the device's kind", device.kind);
  if (device.ordinal != 0) refuse("the host has no number " + std::to_string(device.ordinal));
  return Device::host();
}

void read_tensor_dtypes(const warpload_load_options& options, const Checkpoint& checkpoint, SegmentOptions& segment) {
  for (const auto& entry : read_array(options.tensor_dtypes, options.tensor_dtype_count, "tensor_dtypes")) {
    const std::string name = &required(entry.name, "a name in tensor_dtypes");
    const TensorInfo* tensor = checkpoint.find(name);
    const DType own = tensor != nullptr ? tensor->dtype : DType::u8;  // a name that is not there the load refuses
    segment.tensor_dtypes.insert_or_assign(name, read_dtype(entry.dtype).value_or(own));
  }
}

SegmentOptions segment_options(const warpload_load_options& options, const Checkpoint& checkpoint) {
  SegmentOptions segment{.dtype = read_dtype(options.dtype),
                         .zero_copy = options.no_views == 0,
                         .stream = options.stream,
                         .trace_events = options.trace_events};
  read_tensor_dtypes(options, checkpoint, segment);
  if (options.names != nullptr || options.name_count != 0) {
    segment.only.emplace();
    for (const char* name : read_array(options.names, options.name_count, "names")) {
      segment.only->emplace(&required(name, "a name in names"));
    }
  }
  if (options.filter != nullptr) {
    segment.filter = [filter = options.filter, data = options.filter_data](const TensorInfo& tensor) {
      const warpload_tensor_info view = view_of(tensor);
      return filter(&view, data) != 0;
    };
  }
  return segment;
}

// Nothing where there is none, or where it lies further ahead than the clock can say.
std::optional<std::chrono::steady_clock::time_point> deadline_in(std::uint64_t milliseconds) {
  constexpr std::chrono::hours kLongest{24 * 365 * 100};
  if (milliseconds == 0 || milliseconds > static_cast<std::uint64_t>(std::chrono::milliseconds(kLongest).count())) {
    return std::nullopt;
  }
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
}

constexpr char kLoadOptions[] = "warpload_load_options";

}  // namespace

LoaderOptions read_loader_options(const warpload_loader_options* options) {
  const auto given = read_struct(options, "warpload_loader_options");
  if (given.threads > std::numeric_limits<unsigned>::max()) refuse("there are too many threads");
  LoaderOptions result{
      .device = read_device(given.device, given.driver_library),
      .threads = static_cast<unsigned>(given.threads),
      .device_casts = read_enumeration("device_casts", given.device_casts, DeviceCasts::kDevice),
      .direct_io = read_enumeration("direct_io", given.direct_io, DirectIo::kAlways),
      .populate = read_enumeration("populate", given.populate, Populate::kAlways),
  };
  if (given.pinned_bytes != 0) result.pinned_bytes = given.pinned_bytes;
  if (given.slot_bytes != 0) result.slot_bytes = given.slot_bytes;
  return result;
}

SegmentOptions read_segment_options(const warpload_load_options* options, const Checkpoint& checkpoint) {
  return segment_options(read_struct(options, kLoadOptions), checkpoint);
}

LoadRequest read_load_options(const warpload_load_options* options, const Checkpoint& checkpoint,
                              const Device& device) {
  const auto given = read_struct(options, kLoadOptions);
  LoadRequest request{
      .segment = {}, .memory = {}, .deadline = deadline_in(given.deadline_ms)};  // before the filter is called
  request.segment = segment_options(given, checkpoint);
  const warpload_memory& memory = given.memory;
  if (memory.data == nullptr && memory.bytes == 0 && memory.release == nullptr) return request;
  if (memory.data == nullptr) refuse("memory has no address");
  request.memory = owned_by_this_process(new LentMemory(memory));
  request.segment.arena = Arena::adopt(memory.data, memory.bytes, device, request.memory);
  return request;
}

}  // namespace warpload::c_interface
