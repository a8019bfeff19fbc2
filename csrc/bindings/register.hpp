// One function a topic; module.cpp calls them in this order.
#pragma once

#include <pybind11/pybind11.h>

namespace warpload::bindings {

void register_errors(pybind11::module_& module);
void register_checkpoint(pybind11::module_& module);
void register_device(pybind11::module_& module);
void register_folder_reader(pybind11::module_& module);
void register_loader(pybind11::module_& module);
void register_memory(pybind11::module_& module);
void register_trace(pybind11::module_& module);

}  // namespace warpload::bindings
