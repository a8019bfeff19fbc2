// Calls about modules and kernels. The kernels are the core's own scalar casts.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "convert/cast.hpp"
#include "fakes/call.hpp"
#include "fakes/memory.hpp"
#include "fakes/stream.hpp"

namespace warpload::testing::fake {
namespace {

constexpr unsigned kLargestBlock = 1024;

std::optional<DType> parse_code(std::string_view code) {
  constexpr std::pair<std::string_view, DType> kCodes[] = {{"f16", DType::f16},         {"bf16", DType::bf16},
                                                           {"f32", DType::f32},         {"f64", DType::f64},
                                                           {"f8_e4m3", DType::f8_e4m3}, {"f8_e5m2", DType::f8_e5m2}};
  for (const auto& [text, dtype] : kCodes) {
    if (text == code) return dtype;
  }
  return std::nullopt;
}

// "warpload_cast_f8_e4m3_bf16": the destination is behind the last underscore, for no destination's code has one.
std::optional<std::pair<DType, DType>> parse_kernel(std::string_view name) {
  constexpr std::string_view kPrefix = "warpload_cast_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const std::size_t last = name.rfind('_');
  if (last == std::string_view::npos) return std::nullopt;
  const auto source = parse_code(name.substr(0, last));
  const auto destination = parse_code(name.substr(last + 1));
  if (!source || !destination || !is_cast_supported(*source, *destination)) return std::nullopt;
  return std::pair{*source, *destination};
}

struct CastArguments {
  DevicePointer source = 0;
  DevicePointer destination = 0;
  unsigned long long count = 0;
};

CastArguments read_arguments(void** parameters) {
  CastArguments arguments;
  std::memcpy(&arguments.source, parameters[0], sizeof arguments.source);
  std::memcpy(&arguments.destination, parameters[1], sizeof arguments.destination);
  std::memcpy(&arguments.count, parameters[2], sizeof arguments.count);
  return arguments;
}

// One side of a cast.
struct Side {
  std::shared_ptr<Allocation> allocation = {};
  DevicePointer address = 0;
  std::size_t bytes = 0;
  std::byte* memory = nullptr;
};

// A side, or nothing, with the fault noted, where a kernel would trap.
std::optional<Side> look_up_side(Call& call, DevicePointer address, DType dtype, std::uint64_t count) {
  const std::size_t element = dtype_bits(dtype) / 8;
  std::size_t bytes = 0;
  if (address % element != 0) {
    call.fault("a kernel's pointer is not aligned to its element", cuda::kSuccess);
    return std::nullopt;
  }
  Side side{.address = address};
  if (!__builtin_mul_overflow(count, element, &bytes)) side.allocation = find_allocation(call.state, address, bytes);
  if (!side.allocation || side.allocation->context != call.context) {
    call.fault("a kernel's range is not inside one live allocation of the context", cuda::kSuccess);
    return std::nullopt;
  }
  side.bytes = bytes;
  side.memory = side.allocation->memory + (address - side.allocation->begin);
  return side;
}

// A kernel that traps breaks its context when it runs, not when it is launched.
std::shared_ptr<Operation> trap() {
  auto operation = std::make_shared<Operation>();
  operation->work = [] { return cuda::kIllegalAddress; };
  return operation;
}

std::shared_ptr<Operation> cast_operation(Call& call, const Function& function, const CastArguments& arguments) {
  const auto source = look_up_side(call, arguments.source, function.source, arguments.count);
  const auto destination = look_up_side(call, arguments.destination, function.destination, arguments.count);
  if (!source || !destination) return trap();
  if (source->address < destination->address + destination->bytes &&
      destination->address < source->address + source->bytes) {
    call.fault("a kernel's source and destination overlap", cuda::kSuccess);
    return trap();
  }
  auto operation = std::make_shared<Operation>();
  operation->uses = {source->allocation, destination->allocation};
  const CastFunction cast = find_cast(function.source, function.destination, SimdLevel::kScalar);
  operation->work = [cast, from = source->memory, to = destination->memory, count = arguments.count] {
    cast(from, to, count);
    return cuda::kSuccess;
  };
  return operation;
}

// The casts are loops over the grid, so that any size of it covers all elements; only its legality matters.
bool is_legal_grid(const unsigned (&grid)[3], const unsigned (&block)[3]) {
  std::uint64_t threads = 1;
  for (const unsigned size : block) threads *= std::min(size, kLargestBlock + 1);
  const bool empty = std::any_of(std::begin(grid), std::end(grid), [](unsigned size) { return size == 0; });
  return !empty && threads > 0 && threads <= kLargestBlock && grid[0] < (1U << 31) && grid[1] < (1U << 16) &&
         grid[2] < (1U << 16);
}

Result launch(Call& call, FunctionHandle handle, StreamHandle stream_handle, void** parameters) {
  const auto function = call.state.functions.find(handle);
  if (function == call.state.functions.end()) return call.fault("there is no such function", cuda::kInvalidHandle);
  const auto& module = function->second.module;
  if (module->context != call.context) return call.fault("the kernel is of another context", cuda::kInvalidContext);
  const auto stream = call.stream(stream_handle);
  if (!stream) return cuda::kInvalidHandle;
  const CastArguments arguments = read_arguments(parameters);
  ++call.state.counters.launches;
  auto operation =
      arguments.count == 0 ? std::make_shared<Operation>() : cast_operation(call, function->second, arguments);
  operation->uses.push_back(module);
  enqueue(call.state, call.guard, *stream, std::move(operation));
  return cuda::kSuccess;
}

}  // namespace
}  // namespace warpload::testing::fake

using namespace warpload::testing::fake;  // NOLINT: the calls are global, as a driver's are
namespace cuda = warpload::cuda;

extern "C" {

Result cuModuleLoadData(ModuleHandle* handle, const void* image) {
  return run_call("cuModuleLoadData", Needs::kContext, {}, [&](Call& call) {
    if (handle == nullptr || image == nullptr) return cuda::kInvalidValue;
    if (!call.state.options.binary_for_gpu) return cuda::kNoBinaryForGpu;
    auto module = std::make_shared<Module>();
    module->context = call.context;
    *handle = call.state.make_handle<ModuleHandle>();
    call.state.modules.emplace(*handle, module);
    return cuda::kSuccess;
  });
}

Result cuModuleUnload(ModuleHandle handle) {
  return run_call("cuModuleUnload", Needs::kContextToFree, about(handle), [&](Call& call) {
    const auto module = find(call.state.modules, handle);
    if (!module) return call.fault("there is no such module", cuda::kInvalidHandle);
    if (module->queued > 0) return call.fault("queued kernels are of the module", cuda::kInvalidValue);
    std::erase_if(call.state.functions, [&](const auto& entry) { return entry.second.module == module; });
    call.state.modules.erase(handle);
    return cuda::kSuccess;
  });
}

Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle handle, const char* name) {
  return run_call("cuModuleGetFunction", Needs::kContext, about(handle), [&](Call& call) {
    const auto module = find(call.state.modules, handle);
    if (!module) return call.fault("there is no such module", cuda::kInvalidHandle);
    if (function == nullptr || name == nullptr) return cuda::kInvalidValue;
    const auto dtypes = parse_kernel(name);
    if (!dtypes) return cuda::kNotFound;
    const std::chrono::microseconds wait = call.state.options.kernel_loading;
    if (wait.count() > 0) call.guard.outside([&] { std::this_thread::sleep_for(wait); });
    *function = call.state.make_handle<FunctionHandle>();
    call.state.functions.emplace(*function, Function{module, dtypes->first, dtypes->second});
    return cuda::kSuccess;
  });
}

Result cuLaunchKernel(FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, StreamHandle stream, void** parameters,
                      void** extra) {
  return run_call("cuLaunchKernel", Needs::kContext, about(stream), [&](Call& call) {
    const bool legal = is_legal_grid({grid_x, grid_y, grid_z}, {block_x, block_y, block_z});
    if (!legal || shared_bytes > 48 * 1024 || parameters == nullptr || extra != nullptr) return cuda::kInvalidValue;
    return launch(call, function, stream, parameters);
  });
}

}  // extern "C"
