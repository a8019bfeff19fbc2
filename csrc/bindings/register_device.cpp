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
  py::class_<BesideCaptures> bound(
      module, "BesideCaptures",
      "A context manager. Inside it, what this thread asks of the driver disturbs no CUDA graph that another thread "
      "captures.");
  refuse_pickling(bound);
  bound.def("__enter__", [](BesideCaptures& self) { self.scope = self.backend->beside_captures(); })
      .def("__exit__", [](BesideCaptures& self, const py::args&) { self.scope.reset(); });
}

}  // namespace

void register_device(py::module_& module) {
  register_beside_captures(module);
  using Released = py::call_guard<Unlocked>;
  py::class_<Device> bound(module, "Device",
                           "A device that tensors can be loaded to through pinned slots. Any thread may use it.");
  refuse_pickling(bound);
  bound
      .def_static("host_through_slots", &Device::host_through_slots,
                  "Return the host's memory as a device that is reached as a GPU is, for tests.")
      .def_static("cuda", &Device::cuda, py::arg("ordinal"), py::arg("library") = "libcuda.so.1", Released(),
                  "Return the GPU with that number. Opens the driver now, its context when it is first needed. "
                  "Raises DeviceError when there is no driver or no such GPU.")
      .def_property_readonly("name", &Device::name, "The name as torch writes it: cpu, cuda:0 and so on.")
      .def(
          "beside_captures", [](const Device& device) { return BesideCaptures{device.backend()}; },
          "Return a context manager for calls of the driver by others, torch's allocator say: inside it they "
          "disturb no CUDA graph that another thread captures.")
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
          "Return (free, total): the bytes of memory that are free now, and all bytes. Raises DeviceError.");
}

}  // namespace warpload::bindings
