#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/interpreter.hpp"
#include "bindings/keep.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
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

// (path of the file, first byte, one behind the last) of a tensor.
py::tuple locate(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr) throw InvalidArgumentError({.reason = "there is no such tensor", .tensor = name});
  return py::make_tuple(std::filesystem::path(checkpoint.shard_path(tensor->shard)), tensor->range.begin,
                        tensor->range.end);
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
  py::class_<Checkpoint, std::shared_ptr<Checkpoint>> bound(
      module, "Checkpoint", "A set of safetensors shards, opened and validated. Any thread may use it.");
  refuse_pickling(bound);
  bound
      .def_static(
          "open",
          [](const Paths& shards, bool as_published) {
            const IndexRules rules = as_published ? IndexRules::as_published : IndexRules::strict;
            return std::const_pointer_cast<Checkpoint>(Checkpoint::open(shards, rules));
          },
          py::arg("shards"), py::kw_only(), py::arg("as_published") = false, py::call_guard<Unlocked>(),
          "Open shards, or the shards that one index file lists. Every header is checked; no tensor is read. With "
          "as_published an index is understood as diffusers and transformers do. Raises FormatError, IoError.")
      .def_static("from_memory", &from_memory, py::arg("tensors"), py::arg("owner"),
                  "Make a checkpoint of tensors in memory, (name, dtype code, shape, address, bytes) each. The "
                  "object `owner` is held as long as the memory is needed. Raises InvalidArgumentError.")
      .def("tensors", &describe,
           "Return (name, dtype code, shape, shard) of each tensor, by shard and then by offset in its file.")
      .def_property_readonly("oddities", &oddities_of,
                             "What is odd about the files although they were taken: (kind, sentence) each.")
      .def("locate", &locate, py::arg("name"),
           "Return (path, begin, end): the file that has a tensor, its first byte there, and the byte behind its "
           "last. For a tensor in memory the path is the name that messages use. Raises InvalidArgumentError.")
      .def("metadata", &Checkpoint::metadata, py::arg("shard") = 0,
           "Return the free-form metadata of one shard, or None where its header has none.")
      .def_property_readonly("shard_count", &Checkpoint::shard_count, "How many shards were opened.")
      .def_property_readonly("nbytes", &data_bytes, "The bytes of all tensors in the files.")
      .def(
          "__len__", [](const Checkpoint& checkpoint) { return checkpoint.tensors().size(); },
          "Return how many tensors there are.");
  module.def("dtype_bits", &bits_of, py::arg("code"),
             "Return the bits that one element of a dtype takes. Raises InvalidArgumentError for an unknown code.");
  module.def("is_cast_supported", &cast_supported, py::arg("source"), py::arg("destination"),
             "Tell whether the core casts from one dtype to another; False for an unknown code.");
}

}  // namespace warpload::bindings
