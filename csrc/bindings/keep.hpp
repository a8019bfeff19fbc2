// Python objects that C++ keeps.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/interpreter.hpp"

namespace warpload::bindings {

// The result may be released on any thread, and after the interpreter's end.
[[nodiscard]] inline std::shared_ptr<void> keep(pybind11::object object) {
  return {object.release().ptr(), [](void* kept) {
            if (interpreter_ends()) return;  // and the process with it: nobody needs the memory
            const Locked lock;
            Py_DECREF(static_cast<PyObject*>(kept));
          }};
}

}  // namespace warpload::bindings
