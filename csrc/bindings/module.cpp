// The extension module warpload._core: the only C++ that sees Python. None of it sees torch.
#include <pybind11/pybind11.h>

#include "bindings/register.hpp"
#include "warpload/version.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "warpload's core in C++: checkpoints, devices and loads.";
  module.attr("__version__") = WARPLOAD_VERSION;
  warpload::bindings::register_errors(module);
  warpload::bindings::register_checkpoint(module);
  warpload::bindings::register_device(module);
  warpload::bindings::register_folder_reader(module);
  warpload::bindings::register_trace(module);
  warpload::bindings::register_loader(module);
  warpload::bindings::register_memory(module);
}
