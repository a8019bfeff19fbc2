#include <pybind11/pybind11.h>

#include "bindings/register.hpp"
#include "warpload/device.hpp"

namespace warpload::bindings {

namespace py = pybind11;

void register_device(py::module_& module) {
  using Released = py::call_guard<py::gil_scoped_release>;
  py::class_<Device>(module, "Device", "Where tensors can live, reached through pinned slots.")
      .def_static("host_through_slots", &Device::host_through_slots, "The host's memory, as if it were a GPU's.")
      .def_static("cuda", &Device::cuda, py::arg("ordinal"), py::arg("library") = "libcuda.so.1", Released(),
                  "A GPU by its driver; its context is opened when it is first needed.")
      .def_property_readonly("name", &Device::name)
      .def(
          "memory",
          [](const Device& device) {
            DeviceMemoryInfo info;
            {
              const py::gil_scoped_release release;
              info = device.memory();
            }
            return py::make_tuple(info.free_bytes, info.total_bytes);
          },
          "(free, total) bytes.");
}

}  // namespace warpload::bindings
