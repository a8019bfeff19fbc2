#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "bindings/dlpack.hpp"
#include "bindings/register.hpp"
#include "warpload/error.hpp"
#include "warpload/loader.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

// How often a wait looks for Ctrl-C.
constexpr std::chrono::milliseconds kSignalInterval{50};

DType parse(const std::string& name) {
  if (const auto dtype = parse_dtype(name)) return *dtype;
  throw InvalidArgumentError({.reason = "unknown dtype '" + name + "'"});
}

SegmentRequest make_request(std::shared_ptr<Checkpoint> checkpoint, const std::optional<std::string>& dtype,
                            const std::unordered_map<std::string, std::string>& tensor_dtypes,
                            std::optional<std::unordered_set<std::string>> only, bool zero_copy) {
  SegmentRequest request{.checkpoint = std::move(checkpoint), .only = std::move(only), .zero_copy = zero_copy};
  if (dtype) request.dtype = parse(*dtype);
  for (const auto& [name, tensor_dtype] : tensor_dtypes) request.tensor_dtypes.emplace(name, parse(tensor_dtype));
  return request;
}

// Waits with the lock released, looking for signals in between; a signal's exception cancels and drains the
// load.
template <class Finished>
void wait_interruptibly(LoadHandle& handle, Finished finished) {
  while (true) {
    {
      const py::gil_scoped_release release;
      if (finished(kSignalInterval)) break;
    }
    if (PyErr_CheckSignals() != 0) {
      {
        const py::gil_scoped_release release;
        handle.cancel();
        handle.wait();
      }
      throw py::error_already_set();
    }
  }
  const py::gil_scoped_release release;
  handle.rethrow_if_failed();
}

// (name, dtype code, shape, DLPack capsule, whether the capsule has the dtype) a tensor.
py::list describe(const LoadHandle& handle, std::size_t segment) {
  const std::vector<Tensor>& tensors = handle.tensors(segment);
  py::list result(tensors.size());
  for (std::size_t position = 0; position < tensors.size(); ++position) {
    const Tensor& tensor = tensors[position];
    py::tuple shape(tensor.shape().size());
    for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) shape[axis] = tensor.shape()[axis];
    const std::string_view code = dtype_name(tensor.dtype());
    result[position] = py::make_tuple(tensor.name(), py::str(code.data(), code.size()), shape, to_dlpack(tensor),
                                      dlpack_has(tensor.dtype()));
  }
  return result;
}

// Joining workers must not hold the interpreter's lock: other threads may need it meanwhile.
struct ReleaseLock {
  void operator()(LoadHandle* handle) const {
    const py::gil_scoped_release release;
    delete handle;
  }
};

void register_handle(py::module_& module) {
  py::class_<LoadHandle, std::unique_ptr<LoadHandle, ReleaseLock>>(module, "LoadHandle",
                                                                   "A load under way; dropping it cancels and drains.")
      .def(
          "wait",
          [](LoadHandle& handle) {
            wait_interruptibly(handle, [&](auto interval) { return handle.wait_for(interval); });
          },
          "Wait for everything; raises the first worker's error. Ctrl-C cancels, drains and raises.")
      .def(
          "wait_segment",
          [](LoadHandle& handle, std::size_t segment) {
            wait_interruptibly(handle, [&](auto interval) { return handle.wait_segment_for(segment, interval); });
          },
          py::arg("segment"), "Wait until the bytes of one segment have arrived.")
      .def("cancel", &LoadHandle::cancel, "Ask the workers to stop; does not wait.")
      .def("tensors", &describe, py::arg("segment"),
           "(name, dtype code, shape, DLPack capsule, capsule has dtype) of each tensor, at once. A capsule "
           "can be "
           "consumed once; call again for more.")
      .def_property_readonly("done", &LoadHandle::done)
      .def_property_readonly("bytes_done", [](const LoadHandle& handle) { return handle.progress().bytes_done; })
      .def_property_readonly("bytes_total", [](const LoadHandle& handle) { return handle.progress().bytes_total; });
}

}  // namespace

void register_loader(py::module_& module) {
  py::class_<SegmentRequest>(module, "SegmentRequest", "What one checkpoint becomes in the arena.")
      .def(py::init(&make_request), py::arg("checkpoint"), py::kw_only(), py::arg("dtype") = py::none(),
           py::arg("tensor_dtypes") = std::unordered_map<std::string, std::string>{}, py::arg("only") = py::none(),
           py::arg("zero_copy") = true);
  register_handle(module);
  py::class_<Loader>(module, "Loader", "Owns the worker threads.")
      .def(py::init([](unsigned threads) { return std::make_unique<Loader>(LoaderOptions{.threads = threads}); }),
           py::arg("threads") = 0)
      .def_property_readonly("threads", &Loader::threads)
      .def(
          "start",
          [](const Loader& loader, const std::vector<SegmentRequest>& requests) {
            const py::gil_scoped_release release;
            return loader.start(requests);
          },
          py::arg("requests"), "Plan, reserve the arena and start filling it.");
}

}  // namespace warpload::bindings
