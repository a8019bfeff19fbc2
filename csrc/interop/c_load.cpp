// Loads in C, from their start to their end.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "interop/c_error.hpp"
#include "interop/c_handles.hpp"
#include "interop/c_values.hpp"
#include "warpload/dlpack.hpp"

namespace warpload::c_interface {
namespace {

static_assert(static_cast<int>(DeviceKind::kHost) == WARPLOAD_DEVICE_HOST);
static_assert(static_cast<int>(DeviceKind::kCuda) == WARPLOAD_DEVICE_CUDA);
static_assert(static_cast<int>(TraceKind::kReading) == WARPLOAD_TRACE_READING);
static_assert(static_cast<int>(TraceKind::kCopying) == WARPLOAD_TRACE_COPYING);
static_assert(static_cast<int>(TraceKind::kCasting) == WARPLOAD_TRACE_CASTING);
static_assert(static_cast<int>(TraceKind::kWaitingForSlot) == WARPLOAD_TRACE_WAITING_FOR_SLOT);
static_assert(static_cast<int>(TraceKind::kWaitingForArena) == WARPLOAD_TRACE_WAITING_FOR_ARENA);
static_assert(static_cast<int>(TraceKind::kSending) == WARPLOAD_TRACE_SENDING);
static_assert(static_cast<int>(TraceKind::kPopulating) == WARPLOAD_TRACE_POPULATING);

warpload_tensor view_of(const Tensor& tensor) noexcept {
  const DeviceId device = tensor.device();
  return {.name = tensor.name().c_str(),
          .name_bytes = tensor.name().size(),
          .data = tensor.data(),
          .nbytes = tensor.nbytes(),
          .shape = tensor.shape().data(),
          .ndim = tensor.shape().size(),
          .dtype = to_c(tensor.dtype()),
          .device = {.kind = static_cast<warpload_device_kind>(device.kind), .ordinal = device.ordinal}};
}

std::int64_t nanoseconds(std::chrono::steady_clock::time_point time) noexcept {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

warpload_trace_event event_of(const TraceEvent& event) noexcept {
  return {.begin_ns = nanoseconds(event.begin),
          .end_ns = nanoseconds(event.end),
          .bytes = event.bytes,
          .thread = event.thread,
          .kind = static_cast<warpload_trace_kind>(event.kind)};
}

constexpr std::int64_t kForever = -1;

// False when the load goes on; throws what has gone wrong.
bool wait(const LoadHandle& load, std::int64_t timeout_ms) {
  if (timeout_ms < 0) load.wait();
  if (timeout_ms >= 0 && !load.wait_for(std::chrono::milliseconds(timeout_ms))) return false;
  load.rethrow_if_failed();
  return true;
}

void read(const warpload_load& load, std::size_t index, void* destination, std::uint64_t bytes) {
  const warpload_tensor& tensor = tensor_at(load.views, index);
  if (bytes < tensor.nbytes) {
    throw InvalidArgumentError({.reason = "the tensor's " + std::to_string(tensor.nbytes) +
                                          " bytes do not fit in a destination of " + std::to_string(bytes),
                                .tensor = {tensor.name, tensor.name_bytes}});
  }
  auto* const first = static_cast<std::byte*>(destination);
  if (tensor.nbytes != 0) static_cast<void>(required(first, "destination"));
  static_cast<void>(wait(load.handle, kForever));
  load.device.read(static_cast<const std::byte*>(tensor.data), first, tensor.nbytes);
}

}  // namespace
}  // namespace warpload::c_interface

using namespace warpload::c_interface;

warpload_load::warpload_load(warpload::Device target, warpload::LoadHandle started, std::shared_ptr<void> lent)
    : memory(std::move(lent)), device(std::move(target)), handle(std::move(started)), tensors(handle.tensors()) {
  views.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) views.push_back(view_of(tensor));
}

warpload_status warpload_load_wait(const warpload_load* load, int64_t timeout_ms, warpload_error** error) {
  bool ended = true;
  const warpload_status status = run(error, [&] { ended = wait(required(load, "load").handle, timeout_ms); });
  return ended ? status : WARPLOAD_TIMEOUT;
}

warpload_status warpload_load_progress(const warpload_load* load, uint64_t* bytes_done, uint64_t* bytes_total,
                                       warpload_error** error) {
  warpload::LoadProgress progress;
  const warpload_status status = run(error, [&] { progress = required(load, "load").handle.progress(); });
  if (bytes_done != nullptr) *bytes_done = progress.bytes_done;
  if (bytes_total != nullptr) *bytes_total = progress.bytes_total;
  return status;
}

warpload_status warpload_load_trace(const warpload_load* load, warpload_trace_event* events, size_t capacity,
                                    size_t* count, uint64_t* lost, warpload_error** error) {
  warpload::TraceEvents found;
  const warpload_status status = run(error, [&] {
    found = required(load, "load").handle.trace().read();
    if (capacity != 0) static_cast<void>(required(events, "events"));
  });
  if (status != WARPLOAD_OK) found = {};
  std::transform(found.events.begin(),
                 found.events.begin() + static_cast<std::ptrdiff_t>(std::min(capacity, found.events.size())), events,
                 event_of);
  if (count != nullptr) *count = found.events.size();
  if (lost != nullptr) *lost = found.lost;
  return status;
}

warpload_status warpload_load_cancel(warpload_load* load, warpload_error** error) {
  return run(error, [&] { required(load, "load").handle.cancel(); });
}

size_t warpload_load_tensor_count(const warpload_load* load) { return load != nullptr ? load->views.size() : 0; }

warpload_status warpload_load_tensor(const warpload_load* load, size_t index, const warpload_tensor** out,
                                     warpload_error** error) {
  return give(out, error, [&] { return &tensor_at(required(load, "load").views, index); });
}

warpload_status warpload_load_find(const warpload_load* load, const char* name, const warpload_tensor** out,
                                   warpload_error** error) {
  return give(out, error, [&] {
    const warpload_load& of = required(load, "load");
    const warpload::Tensor& found = of.tensors.at(&required(name, "name"));
    return &of.views[static_cast<size_t>(&found - &of.tensors[0])];
  });
}

warpload_status warpload_load_read(const warpload_load* load, size_t index, void* destination, uint64_t bytes,
                                   warpload_error** error) {
  return run(error, [&] { read(required(load, "load"), index, destination, bytes); });
}

warpload_status warpload_load_dlpack(const warpload_load* load, size_t index, DLManagedTensorVersioned** out,
                                     warpload_error** error) {
  return give(out, error, [&] {
    static_cast<void>(tensor_at(required(load, "load").views, index));
    static_cast<void>(wait(load->handle, kForever));
    return warpload::to_dlpack_versioned(load->tensors[index]);
  });
}

void warpload_load_free(warpload_load* load) { delete load; }
