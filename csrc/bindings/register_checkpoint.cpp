#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/interpreter.hpp"
#include "bindings/keep.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
#include "format/ggml_types.hpp"
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

// ggml's number of a type of blocks, as one.
BlockType block_type_of(unsigned number, const std::string& tensor = {}) {
  if (const auto type = find_ggml_type(number); type && type->blocks) return *type->blocks;
  throw InvalidArgumentError({.reason = "unknown type of blocks " + std::to_string(number), .tensor = tensor});
}

// name -> (name of the type, ggml's number of it) of the quantised tensors.
py::dict blocks_of(const Checkpoint& checkpoint) {
  py::dict result;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (!tensor.blocks) continue;
    const std::string_view name = block_type_name(*tensor.blocks);
    result[py::str(tensor.name)] = py::make_tuple(py::str(name.data(), name.size()), static_cast<int>(*tensor.blocks));
  }
  return result;
}

// The path of the first GGUF file among the shards.
std::optional<std::filesystem::path> gguf_path(const Checkpoint& checkpoint) {
  for (std::size_t shard = 0; shard < checkpoint.shard_count(); ++shard) {
    if (checkpoint.format(shard) == FileFormat::gguf) return checkpoint.shard_path(shard);
  }
  return std::nullopt;
}

// Tensors of `(name, dtype code, shape, address, bytes)`, whose memory `owner` keeps; `blocks` has ggml's numbers by
// name.
std::shared_ptr<Checkpoint> from_memory(const py::list& described, const py::object& owner,
                                        const std::map<std::string, unsigned>& blocks) {
  const std::shared_ptr<void> kept = keep(owner);
  std::vector<MemoryTensor> tensors;
  for (const py::handle& item : described) {
    const auto [name, code, shape, address, bytes] =
        item.cast<std::tuple<std::string, std::string, std::vector<std::uint64_t>, std::uintptr_t, std::size_t>>();
    const auto dtype = parse_dtype(code);
    if (!dtype) throw InvalidArgumentError({.reason = "unknown dtype '" + code + "'", .tensor = name});
    tensors.push_back({name, *dtype, shape, {reinterpret_cast<const std::byte*>(address), bytes}, kept});
    if (const auto found = blocks.find(name); found != blocks.end()) {
      tensors.back().blocks = block_type_of(found->second, name);
    }
  }
  return std::const_pointer_cast<Checkpoint>(Checkpoint::from_memory(std::move(tensors)));
}

bool cast_supported(const std::string& source, const std::string& destination) {
  const auto from = parse_dtype(source);
  const auto to = parse_dtype(destination);
  return from && to && is_cast_supported(*from, *to);
}

bool dequantization_supported(unsigned number, const std::string& destination) {
  const auto to = parse_dtype(destination);
  return to && is_dequantization_supported(block_type_of(number), *to);
}

std::uint64_t data_bytes(const Checkpoint& checkpoint) {
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) total += tensor.range.size();
  return total;
}

DType dtype_of(const std::string& code) {
  if (const auto dtype = parse_dtype(code)) return *dtype;
  throw InvalidArgumentError({.reason = "unknown dtype '" + code + "'"});
}

unsigned bits_of(const std::string& code) { return dtype_bits(dtype_of(code)); }

unsigned alignment_of(const std::string& code) { return dtype_alignment(dtype_of(code)); }

}  // namespace

void register_checkpoint(py::module_& module) {
  using Paths = std::vector<std::filesystem::path>;
  py::class_<Checkpoint, std::shared_ptr<Checkpoint>> bound(
      module, "Checkpoint", "A set of shards, safetensors or GGUF files, opened and validated. Any thread may use it.");
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
      .def_static(
          "from_memory", &from_memory, py::arg("tensors"), py::arg("owner"),
          py::arg("blocks") = std::map<std::string, unsigned>{},
          "Make a checkpoint of tensors in memory, (name, dtype code, shape, address, bytes) each. The "
          "object `owner` is held as long as the memory is needed. `blocks` has ggml's number of the type of each "
          "quantised tensor's blocks, by name. Raises InvalidArgumentError.")
      .def_property_readonly("blocks", &blocks_of,
                             "Of the quantised tensors of GGUF files, by name: the name of the blocks' type and ggml's "
                             "number of it. Their dtype is U8, their shape that of the bytes.")
      .def_property_readonly("gguf_path", &gguf_path, "The path of the first shard that is a GGUF file, or None.")
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
  module.def("dtype_alignment", &alignment_of, py::arg("code"),
             "Return the bytes to a multiple of which a tensor of a dtype has to lie in its file to be mapped. Raises "
             "InvalidArgumentError for an unknown code.");
  module.def("is_dequantization_supported", &dequantization_supported, py::arg("blocks"), py::arg("destination"),
             "Tell whether the core turns blocks of that type, by ggml's number, into numbers of a dtype.");
  module.def("is_cast_supported", &cast_supported, py::arg("source"), py::arg("destination"),
             "Tell whether the core casts from one dtype to another; False for an unknown code.");
}

}  // namespace warpload::bindings
