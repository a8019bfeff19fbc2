#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "base/available_memory.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"

namespace warpload::bindings {

namespace py = pybind11;

void register_memory(py::module_& module) {
  using Path = std::optional<std::filesystem::path>;  // a default of Python's own would have pathlib imported
  module.def(
      "available_memory",
      [](Path machine, Path group) {
        MemorySources sources;
        if (machine) sources.machine = *std::move(machine);
        if (group) sources.group = *std::move(group);
        return available_memory(sources);
      },
      py::kw_only(), py::arg("machine") = py::none(), py::arg("group") = py::none(), py::call_guard<Unlocked>(),
      "Return the bytes that can be had without pushing out what is in use: what the machine has, and of a "
      "container's limit what is left; 0 where the machine does not tell. Tests name other files than the system's.");
}

}  // namespace warpload::bindings
