// The core's errors become the classes of warpload.errors, which keep every field.
#include <exception>
#include <string>

#include "bindings/register.hpp"
#include "warpload/error.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

const char* class_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFormat:
      return "FormatError";
    case ErrorCode::kIo:
      return "IoError";
    case ErrorCode::kOutOfMemory:
      return "OutOfMemoryError";
    case ErrorCode::kDevice:
      return "DeviceError";
    case ErrorCode::kCancelled:
      return "Cancelled";
    case ErrorCode::kInvalidArgument:
      return "InvalidArgumentError";
  }
  return "WarploadError";
}

void raise_in_python(const Error& error) {
  py::object range = py::none();
  if (error.range()) range = py::make_tuple(error.range()->begin, error.range()->end);
  // Paths and tensor names come from outside and need not be UTF-8.
  const auto text = [](const std::string& value) {
    return py::reinterpret_steal<py::object>(
        PyUnicode_DecodeFSDefaultAndSize(value.data(), static_cast<Py_ssize_t>(value.size())));
  };
  const py::object build = py::module_::import("warpload.errors").attr("build_error");
  const py::object exception =
      build(class_name(error.code()), text(error.what()), text(error.reason()), text(error.path()),
            text(error.tensor()), range, error.system_error(), error.driver_error(), text(error.cure()));
  PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
}

}  // namespace

void register_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      try {
        raise_in_python(error);
      } catch (py::error_already_set& broken) {
        broken.restore();
      }
    }
  });
}

}  // namespace warpload::bindings
