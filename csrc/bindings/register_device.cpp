#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
#include "device/backend.hpp"
#include "warpload/device.hpp"

namespace warpload::bindings {

namespace py = pybind11;

namespace {

// `with device.beside_captures():`
struct BesideCaptures {
  std::shared_ptr<DeviceBackend> backend;
  std::unique_ptr<ThreadScope> scope = {};
};

void register_beside_captures(py::module_& module) {
  py::class_<BesideCaptures> bound(module, "BesideCaptures",
                                   "Inside it this thread breaks no CUDA graph of another's.");
  refuse_pickling(bound);
  bound.def("__enter__", [](BesideCaptures& self) { self.scope = self.backend->beside_captures(); })
      .def("__exit__", [](BesideCaptures& self, const py::args&) { self.scope.reset(); });
}

}  // namespace

void register_device(py::module_& module) {
  register_beside_captures(module);
  using Released = py::call_guard<Unlocked>;
  py::class_<Device> bound(module, "Device", "Where tensors can live, reached through pinned slots.");
  refuse_pickling(bound);
  bound.def_static("host_through_slots", &Device::host_through_slots, "The host's memory, as if it were a GPU's.")
      .def_static("cuda", &Device::cuda, py::arg("ordinal"), py::arg("library") = "libcuda.so.1", Released(),
                  "A GPU by its driver; its context is opened when it is first needed.")
      .def_property_readonly("name", &Device::name)
      .def(
          "beside_captures", [](const Device& device) { return BesideCaptures{device.backend()}; },
          "A context manager for calls of the driver by others: they disturb no CUDA graph that another thread "
          "captures.")
      .def(
          "memory",
          [](const Device& device) {
            DeviceMemoryInfo info;
            {
              const Unlocked unlocked;
              info = device.memory();
            }
            return py::make_tuple(info.free_bytes, info.total_bytes);
          },
          "(free, total) bytes.");
}

}  // namespace warpload::bindings
