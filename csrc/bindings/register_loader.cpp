#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "bindings/dlpack_capsule.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/interruptible_wait.hpp"
#include "bindings/keep.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

DType parse(const std::string& name) {
  if (const auto dtype = parse_dtype(name)) return *dtype;
  throw InvalidArgumentError({.reason = "unknown dtype '" + name + "'"});
}

SegmentRequest make_request(std::shared_ptr<Checkpoint> checkpoint, const std::optional<std::string>& dtype,
                            const std::unordered_map<std::string, std::string>& tensor_dtypes,
                            std::optional<std::unordered_set<std::string>> only, bool zero_copy,
                            std::optional<Device> device, std::uintptr_t stream, std::uint64_t trace_events) {
  SegmentOptions options{.only = std::move(only),
                         .zero_copy = zero_copy,
                         .device = std::move(device),
                         .stream = reinterpret_cast<void*>(stream),
                         .trace_events = trace_events};
  if (dtype) options.dtype = parse(*dtype);
  for (const auto& [name, tensor_dtype] : tensor_dtypes) options.tensor_dtypes.emplace(name, parse(tensor_dtype));
  return {std::move(checkpoint), std::move(options)};
}

// Asks `function([(segment, bytes), ...])` for `[(address, owner), ...]`.
std::vector<AdoptedMemory> ask_for_memory(const py::object& function, std::span<const SegmentSize> sizes) {
  py::list wanted;
  for (const SegmentSize& size : sizes) wanted.append(py::make_tuple(size.segment, size.bytes));
  // This thread may be ended inside the function: see interpreter.hpp.
  PyObject* const found = stay_if_ended([&] { return PyObject_CallOneArg(function.ptr(), wanted.ptr()); });
  if (found == nullptr) throw py::error_already_set();
  std::vector<AdoptedMemory> memory;
  for (const py::handle& item : py::reinterpret_steal<py::object>(found)) {
    const auto [address, owner] = item.cast<std::pair<std::uintptr_t, py::object>>();
    memory.push_back({reinterpret_cast<std::byte*>(address), keep(owner)});
  }
  return memory;
}

// One function for segments, and one for working memory. That one's MemoryError is the core's own: the load goes on.
SegmentAllocator make_allocator(const py::object& segments, const py::object& staging) {
  if (segments.is_none() && staging.is_none()) return {};
  return [&segments, &staging](std::span<const SegmentSize> sizes) {
    const Locked lock;
    const bool for_casts = sizes[0].staging;
    const py::object& function = for_casts ? staging : segments;
    if (function.is_none()) return std::vector<AdoptedMemory>(sizes.size());
    try {
      return ask_for_memory(function, sizes);
    } catch (const py::error_already_set& error) {
      if (for_casts && error.matches(PyExc_MemoryError)) throw OutOfMemoryError({.reason = error.what()});
      throw;
    }
  };
}

// (name, dtype code, shape, DLPack capsule, whether the capsule has the dtype).
py::tuple describe_one(const Tensor& tensor) {
  py::tuple shape(tensor.shape().size());
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) shape[axis] = tensor.shape()[axis];
  const std::string_view code = dtype_name(tensor.dtype());
  return py::make_tuple(tensor.name(), py::str(code.data(), code.size()), shape, to_capsule(tensor),
                        travels_typed(tensor.dtype()));
}

// What describe_one says, of each tensor.
py::list describe(const LoadHandle& handle, std::size_t segment) {
  const TensorList tensors = handle.tensors(segment);
  py::list result(tensors.size());
  for (std::size_t position = 0; position < tensors.size(); ++position) {
    result[position] = describe_one(tensors[position]);
  }
  return result;
}

DeviceCasts parse_casts(const std::string& name) {
  if (name == "auto") return DeviceCasts::kAuto;
  if (name == "host") return DeviceCasts::kHost;
  if (name == "device") return DeviceCasts::kDevice;
  throw InvalidArgumentError({.reason = "device_casts is '" + name + "', not auto, host or device"});
}

DirectIo parse_direct_io(const std::string& name) {
  if (name == "auto") return DirectIo::kAuto;
  if (name == "never") return DirectIo::kNever;
  if (name == "always") return DirectIo::kAlways;
  throw InvalidArgumentError({.reason = "direct_io is '" + name + "', not auto, never or always"});
}

Populate parse_populate(const std::string& name) {
  if (name == "auto") return Populate::kAuto;
  if (name == "never") return Populate::kNever;
  if (name == "always") return Populate::kAlways;
  throw InvalidArgumentError({.reason = "populate is '" + name + "', not auto, never or always"});
}

std::unique_ptr<Loader, DeleteUnlocked> make_loader(unsigned threads, std::uint64_t pinned_bytes,
                                                    const std::string& device_casts, const std::string& direct_io,
                                                    const std::string& populate) {
  return std::unique_ptr<Loader, DeleteUnlocked>(new Loader(LoaderOptions{.threads = threads,
                                                                          .pinned_bytes = pinned_bytes,
                                                                          .device_casts = parse_casts(device_casts),
                                                                          .direct_io = parse_direct_io(direct_io),
                                                                          .populate = parse_populate(populate)}));
}

void wait(LoadHandle& handle) {
  interruptible_wait(handle, [&](auto interval) { return handle.wait_for(interval); });
  const Unlocked unlocked;
  handle.rethrow_if_failed();
}

void wait_segment(LoadHandle& handle, std::size_t segment) {
  interruptible_wait(handle, [&](auto interval) { return handle.wait_segment_for(segment, interval); });
  const Unlocked unlocked;
  handle.rethrow_if_failed();
}

// The copies are queued, so that this ends by itself; a driver's wait cannot be cut short.
void wait_arrival(LoadHandle& handle, std::size_t segment) {
  interruptible_wait(handle, [&](auto) {
    handle.wait_arrival(segment);
    return true;
  });
}

void release_segment(LoadHandle& handle, std::size_t segment) {
  interruptible_wait(handle, [&](auto interval) { return handle.release_segment_for(segment, interval); });
}

// Seconds by what they went to.
py::dict describe_times(const LoadMeter& meter) {
  const LoadTimes times = meter.times();
  const auto seconds = [](std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); };
  py::dict result;
  result["waiting_for_slots"] = seconds(times.waiting_for_slots);
  result["waiting_for_arena"] = seconds(times.waiting_for_arena);
  result["sending"] = seconds(times.sending);
  result["from_disk"] = seconds(times.from_disk);
  result["from_memory"] = seconds(times.from_memory);
  result["casting"] = seconds(times.casting);
  return result;
}

void register_meter(py::module_& module) {
  py::class_<LoadMeter> bound(module, "LoadMeter",
                              "Watches a load without keeping it: the load and its memory may go meanwhile.");
  refuse_pickling(bound);
  bound
      .def(
          "progress",
          [](const LoadMeter& meter, std::size_t segment) {
            const LoadProgress progress = meter.progress(segment);
            return std::make_pair(progress.bytes_done, progress.bytes_total);
          },
          py::arg("segment"),
          "Return the bytes of a segment's files that have been read, and sent to their device, and those that the "
          "load "
          "reads; views do not count. Of a load that has gone before its end, the second is the first.")
      .def("times", &describe_times,
           "Return the seconds that the workers have spent until now, all together, by what they went to.");
}

void register_handle(py::module_& module) {
  py::class_<LoadHandle, std::unique_ptr<LoadHandle, DeleteUnlocked>> bound(
      module, "LoadHandle",
      "A load that is under way or has ended. When it is collected it cancels what is left, and waits for the "
      "workers.");
  refuse_pickling(bound);
  bound.def("wait", &wait, "Wait until all bytes have arrived. Raises the first error of the load. Ctrl-C cancels it.")
      .def("wait_segment", &wait_segment, py::arg("segment"),
           "Wait until the bytes of one segment have arrived or, on a device, their copies have been queued. Raises "
           "the first error of the load. Ctrl-C cancels it.")
      .def(
          "make_stream_wait",
          [](const LoadHandle& handle, std::size_t segment, std::uintptr_t stream) {
            handle.make_stream_wait(segment, reinterpret_cast<void*>(stream));
          },
          py::arg("segment"), py::arg("stream"), py::call_guard<Unlocked>(),
          "Make what is queued in a stream from now on wait for the copies of a segment that wait_segment has "
          "returned for. The stream is the device's own handle. Raises DeviceError.")
      .def("wait_arrival", &wait_arrival, py::arg("segment"),
           "Wait until the copies of a segment that wait_segment has returned for are done. Raises DeviceError when "
           "one failed. Ctrl-C cancels the load.")
      .def("release_segment", &release_segment, py::arg("segment"),
           "Release a segment: what has not been read of it is skipped, and its memory goes with the last of its "
           "tensors. Waits for the workers that are at it. Ctrl-C cancels the load.")
      .def(
          "cancel",
          [](LoadHandle& handle) {
            if (!handle.wait_for({})) handle.cancel();  // in a child of fork, wait_for says so
          },
          "Cancel the load. Does not wait for the workers, which finish the reads that they are in.")
      .def("tensors", &describe, py::arg("segment"),
           "Return (name, dtype code, shape, DLPack capsule, whether the capsule has the dtype) of each tensor of a "
           "segment, without waiting. A capsule can be consumed once; each call makes others.")
      .def(
          "tensor",
          [](const LoadHandle& handle, std::size_t segment, const std::string& name) {
            const TensorList tensors = handle.tensors(segment);
            return describe_one(tensors.at(name));
          },
          py::arg("segment"), py::arg("name"),
          "Return (name, dtype code, shape, DLPack capsule, whether the capsule has the dtype) of one tensor, "
          "without waiting. A capsule can be consumed once; each call makes another one. Raises "
          "InvalidArgumentError.")
      .def("meter", &LoadHandle::meter, "Return what tells how far the load is, as long as anybody asks.")
      .def_property_readonly("done", &LoadHandle::done, "Whether the load has ended, well or badly.")
      .def_property_readonly(
          "bytes_done", [](const LoadHandle& handle) { return handle.progress().bytes_done; },
          "The bytes of files that have been read, and sent to their device.")
      .def_property_readonly(
          "bytes_total", [](const LoadHandle& handle) { return handle.progress().bytes_total; },
          "The bytes of files that the load reads; views do not count.")
      .def_property_readonly(
          "trace",
          [](const LoadHandle& handle) {
            const LoadTrace trace = handle.trace();
            return trace.is_recorded() ? std::optional(trace) : std::nullopt;
          },
          "The record of what the load's threads do, where a request asked for one (trace_events), else None. It keeps "
          "nothing of what is loaded.");
}

}  // namespace

void register_loader(py::module_& module) {
  py::class_<SegmentRequest> request_class(module, "SegmentRequest",
                                           "How one checkpoint is loaded, to one segment of the arena.");
  refuse_pickling(request_class);
  request_class
      .def(py::init(&make_request), py::arg("checkpoint"), py::kw_only(), py::arg("dtype") = py::none(),
           py::arg("tensor_dtypes") = std::unordered_map<std::string, std::string>{}, py::arg("only") = py::none(),
           py::arg("zero_copy") = true, py::arg("device") = py::none(), py::arg("stream") = 0,
           py::arg("trace_events") = 0)
      .def_property_readonly(
          "checkpoint",
          [](const SegmentRequest& request) { return std::const_pointer_cast<Checkpoint>(request.checkpoint); },
          "The checkpoint to load.");
  register_meter(module);
  register_handle(module);
  using Released = py::call_guard<Unlocked>;
  py::class_<Loader, std::unique_ptr<Loader, DeleteUnlocked>> loader_class(
      module, "Loader", "Owns the worker threads and the pinned slots. Any thread may use it.");
  refuse_pickling(loader_class);
  loader_class
      .def(py::init(&make_loader), py::kw_only(), py::arg("threads") = 0,
           py::arg("pinned_bytes") = LoaderOptions{}.pinned_bytes, py::arg("device_casts") = "auto",
           py::arg("direct_io") = "auto", py::arg("populate") = "auto")
      .def_property_readonly("threads", &Loader::threads, "How many workers this loader has.")
      .def_static("most_threads", &Loader::most_threads,
                  "Return how many workers a loader has at most, whatever it is asked for.")
      .def(
          "start",
          [](const Loader& loader, const std::vector<SegmentRequest>& requests, const py::object& allocate,
             const py::object& allocate_staging) {
            const SegmentAllocator allocator = make_allocator(allocate, allocate_staging);
            const Unlocked unlocked;
            return loader.start(requests, allocator);
          },
          py::arg("requests"), py::arg("allocate") = py::none(), py::arg("allocate_staging") = py::none(),
          "Plan a load of the requests, reserve its arena and start filling it; returns before the bytes are there. "
          "allocate([(segment, bytes), ...]) returns an (address, owner) pair for each segment that needs memory; "
          "an address of 0 has the core allocate. allocate_staging does the same for working memory on a segment's "
          "device, which the loader keeps; where it raises MemoryError the workers cast instead. Raises "
          "InvalidArgumentError, OutOfMemoryError, DeviceError, IoError, and what the two functions raise.")
      .def("prepare", &Loader::prepare, py::arg("device"), py::arg("bytes"), Released(),
           "Open a device and pin slots for loads of up to so many bytes. Does not wait for it; a failure shows in "
           "a load.")
      .def("release_pinned_memory", &Loader::release_pinned_memory, Released(),
           "Release what no load uses: slots, copy streams, working memory for casts. Waits for copies that are "
           "under way. Returns how many bytes of slots were released.")
      .def_property_readonly("pinned_bytes", &Loader::pinned_bytes, "How many bytes of slots are pinned now.")
      .def_property_readonly(
          "pinning_failure", &Loader::pinning_failure,
          "Why memory could not be pinned, the first time that it could not; empty when it always could.");
}

}  // namespace warpload::bindings
