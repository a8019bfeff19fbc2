#include "warpload/tensor_list.hpp"

#include <mutex>
#include <unordered_map>
#include <utility>

#include "warpload/error.hpp"

namespace warpload {

struct TensorList::Table {
  std::vector<Tensor> tensors;
  // Made when it is first wanted: most callers go over all tensors and never ask.
  mutable std::once_flag indexed = {};
  mutable std::unordered_map<std::string_view, const Tensor*> by_name = {};  // views of the tensors' names
};

TensorList::TensorList() noexcept = default;

TensorList::TensorList(std::vector<Tensor> tensors)
    : table_(std::shared_ptr<const Table>(new Table{std::move(tensors)})) {}

std::size_t TensorList::size() const noexcept { return table_ ? table_->tensors.size() : 0; }

const Tensor& TensorList::operator[](std::size_t position) const& noexcept { return table_->tensors[position]; }

const Tensor* TensorList::find(std::string_view name) const& {
  if (!table_) return nullptr;
  std::call_once(table_->indexed, [this] {
    table_->by_name.reserve(table_->tensors.size());
    for (const Tensor& tensor : table_->tensors) table_->by_name.emplace(tensor.name(), &tensor);
  });
  const auto found = table_->by_name.find(name);
  return found == table_->by_name.end() ? nullptr : found->second;
}

const Tensor& TensorList::at(std::string_view name) const& {
  if (const Tensor* tensor = find(name)) return *tensor;
  throw InvalidArgumentError({.reason = "there is no such tensor", .tensor = std::string(name)});
}

TensorList::Iterator TensorList::begin() const noexcept { return Iterator(table_ ? table_->tensors.data() : nullptr); }

TensorList::Iterator TensorList::end() const noexcept {
  return Iterator(table_ ? table_->tensors.data() + table_->tensors.size() : nullptr);
}

}  // namespace warpload
