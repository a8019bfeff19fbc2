// What holds files, memory or threads cannot be sent to another process.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace warpload::bindings {

// Refuses with Python's own words and class. Without it Python's oldest protocols make an empty object of the base
// class first, which pybind11 ends the process for.
template <class Class>
void refuse_pickling(Class& bound) {
  bound.def("__reduce_ex__", [](const pybind11::object& self, int) -> pybind11::object {
    const std::string name = pybind11::str(pybind11::type::of(self).attr("__qualname__"));
    throw pybind11::type_error("cannot pickle '" + name + "' object");
  });
}

}  // namespace warpload::bindings
