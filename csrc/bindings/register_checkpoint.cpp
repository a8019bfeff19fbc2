#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/keep.hpp"
#include "bindings/register.hpp"
#include "warpload/checkpoint.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

py::str name_of(DType dtype) {
  const std::string_view name = dtype_name(dtype);
  return {name.data(), name.size()};
}

py::tuple shape_of(const std::vector<std::uint64_t>& shape) {
  py::tuple result(shape.size());
  for (std::size_t axis = 0; axis < shape.size(); ++axis) result[axis] = shape[axis];
  return result;
}

// (name, dtype code, shape, position of the shard) a tensor, in file order.
py::list describe(const Checkpoint& checkpoint) {
  py::list result(checkpoint.tensors().size());
  std::size_t position = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    result[position++] = py::make_tuple(tensor.name, name_of(tensor.dtype), shape_of(tensor.shape), tensor.shard);
  }
  return result;
}

// (kind, sentence) an oddity.
py::list oddities_of(const Checkpoint& checkpoint) {
  py::list result;
  for (const Oddity& oddity : checkpoint.oddities()) {
    const std::string_view kind = oddity_name(oddity.kind);
    result.append(py::make_tuple(py::str(kind.data(), kind.size()), describe(oddity)));
  }
  return result;
}

// Tensors of `(name, dtype code, shape, address, bytes)`, whose memory `owner` keeps.
std::shared_ptr<Checkpoint> from_memory(const py::list& described, const py::object& owner) {
  const std::shared_ptr<void> kept = keep(owner);
  std::vector<MemoryTensor> tensors;
  for (const py::handle& item : described) {
    const auto [name, code, shape, address, bytes] =
        item.cast<std::tuple<std::string, std::string, std::vector<std::uint64_t>, std::uintptr_t, std::size_t>>();
    const auto dtype = parse_dtype(code);
    if (!dtype) throw InvalidArgumentError({.reason = "unknown dtype '" + code + "'", .tensor = name});
    tensors.push_back({name, *dtype, shape, {reinterpret_cast<const std::byte*>(address), bytes}, kept});
  }
  return std::const_pointer_cast<Checkpoint>(Checkpoint::from_memory(std::move(tensors)));
}

bool cast_supported(const std::string& source, const std::string& destination) {
  const auto from = parse_dtype(source);
  const auto to = parse_dtype(destination);
  return from && to && is_cast_supported(*from, *to);
}

std::uint64_t data_bytes(const Checkpoint& checkpoint) {
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) total += tensor.range.size();
  return total;
}

unsigned bits_of(const std::string& code) {
  if (const auto dtype = parse_dtype(code)) return dtype_bits(*dtype);
  throw InvalidArgumentError({.reason = "unknown dtype '" + code + "'"});
}

}  // namespace

void register_checkpoint(py::module_& module) {
  using Paths = std::vector<std::filesystem::path>;
  py::class_<Checkpoint, std::shared_ptr<Checkpoint>>(module, "Checkpoint", "Safetensors shards, opened and validated.")
      .def_static(
          "open",
          [](const Paths& shards, bool as_published) {
            const IndexRules rules = as_published ? IndexRules::as_published : IndexRules::strict;
            return std::const_pointer_cast<Checkpoint>(Checkpoint::open(shards, rules));
          },
          py::arg("shards"), py::kw_only(), py::arg("as_published") = false, py::call_guard<py::gil_scoped_release>(),
          "Open shards, or what one index file lists, strictly or as the libraries read it; every header is checked.")
      .def_static("from_memory", &from_memory, py::arg("tensors"), py::arg("owner"),
                  "Tensors from memory, as (name, dtype code, shape, address, bytes); `owner` keeps the memory.")
      .def("tensors", &describe, "(name, dtype code, shape, shard) of each tensor, in file order.")
      .def_property_readonly("oddities", &oddities_of, "(kind, sentence) of what is odd about files that were taken.")
      .def("metadata", &Checkpoint::metadata, py::arg("shard") = 0, "The free-form metadata of one shard, or None.")
      .def_property_readonly("shard_count", &Checkpoint::shard_count)
      .def_property_readonly("nbytes", &data_bytes, "Bytes of tensor data in the files.")
      .def("__len__", [](const Checkpoint& checkpoint) { return checkpoint.tensors().size(); });
  module.def("dtype_bits", &bits_of, py::arg("code"), "Bits that one element takes.");
  module.def("is_cast_supported", &cast_supported, py::arg("source"), py::arg("destination"),
             "Whether the core casts between the two dtype codes.");
}

}  // namespace warpload::bindings
