#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/available_memory.hpp"
#include "base/process_owned.hpp"
#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
#include "io/ask_ahead.hpp"
#include "io/folder_reader.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

using Asked = std::tuple<std::filesystem::path, std::string, std::optional<std::string>>;

std::shared_ptr<FolderReader> make_reader(const std::vector<Asked>& asked, std::uint64_t most_of_file,
                                          std::optional<std::uint64_t> budget) {
  std::vector<FolderToRead> folders;
  folders.reserve(asked.size());
  for (const auto& [folder, suffix, below] : asked) {
    folders.push_back({.folder = folder.string(), .suffix = suffix, .below = below, .most_of_file = most_of_file});
  }
  return owned_by_this_process(new FolderReader(std::move(folders), budget.value_or(available_memory() / 4)));
}

}  // namespace

void register_folder_reader(py::module_& module) {
  using Released = py::call_guard<Unlocked>;
  py::class_<FolderReader, std::shared_ptr<FolderReader>> bound(
      module, "FolderReader",
      "Files of folders brought into the page cache by threads, if they are not there; begins when it is made.");
  refuse_pickling(bound);
  bound
      .def(py::init(&make_reader), py::arg("folders"), py::kw_only(), py::arg("most_of_file"),
           py::arg("budget") = py::none(),
           "At most `budget` bytes are read, a quarter of the memory that is available where it is not said.")
      .def("stop", &FolderReader::stop, "End it early; returns at once.")
      .def("join", &FolderReader::join, Released(), "Wait for its end.")
      .def_property_readonly("done", &FolderReader::done, "Whether it has ended.")
      .def_property_readonly("files", &FolderReader::files, "How many files it has read.")
      .def_property_readonly("bytes", &FolderReader::bytes, "How many bytes.");
  module.def(
      "ask_ahead", [](int descriptor, std::uint64_t begin, std::uint64_t end) { ask_ahead(descriptor, {begin, end}); },
      py::arg("descriptor"), py::arg("begin"), py::arg("end"), Released(),
      "Ask the system to read a part of a file into the page cache, all of it; does not wait.");
}

}  // namespace warpload::bindings
