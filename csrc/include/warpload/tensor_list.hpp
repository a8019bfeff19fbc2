/// @file
/// The tensors of one segment.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "warpload/export.h"
#include "warpload/tensor.hpp"

namespace warpload {

/// Tensors in the checkpoint's order, found by position or by name.
///
///     for (const auto& [name, tensor] : tensors) ...
///     tensors.at("conv_in.weight").data()
///
/// Ownership: cheap to copy, immutable; holds every tensor in it. References and iterators stay valid as long as any
/// copy. Threads: every member may be called from any thread.
class WARPLOAD_API TensorList {
 public:
  class Iterator;
  /// What iterating gives: the name and the tensor, as references into the list.
  using value_type = std::pair<const std::string&, const Tensor&>;
  /// The only iterator there is: nothing can be changed.
  using const_iterator = Iterator;

  /// No tensors.
  TensorList() noexcept;

  /// These, in this order; names may repeat, the first is then the one that is found.
  explicit TensorList(std::vector<Tensor> tensors);

  /// How many tensors there are.
  [[nodiscard]] std::size_t size() const noexcept;

  /// True when there are none.
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// The tensor at that position, which has to be below size(). Of a list that is about to go, a copy.
  [[nodiscard]] const Tensor& operator[](std::size_t position) const& noexcept;
  [[nodiscard]] Tensor operator[](std::size_t position) && { return std::as_const(*this)[position]; }  ///< Likewise.

  /// The tensor of that name, or nullptr. The first call makes an index. Not of a list that is about to go.
  [[nodiscard]] const Tensor* find(std::string_view name) const&;
  const Tensor* find(std::string_view name) && = delete;  ///< The pointer would lead nowhere.

  /// The tensor of that name. Of a list that is about to go, a copy.
  ///
  /// @throws InvalidArgumentError when there is none.
  [[nodiscard]] const Tensor& at(std::string_view name) const&;
  [[nodiscard]] Tensor at(std::string_view name) && { return std::as_const(*this).at(name); }  ///< Likewise.

  /// The first tensor, with its name.
  [[nodiscard]] Iterator begin() const noexcept;

  /// Behind the last.
  [[nodiscard]] Iterator end() const noexcept;

 private:
  struct WARPLOAD_HIDDEN Table;
  std::shared_ptr<const Table> table_;
};

/// Goes over a TensorList; valid as long as any copy of the list.
class TensorList::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;   ///< What `*` gives is no reference.
  using iterator_concept = std::forward_iterator_tag;  ///< Otherwise it may be kept and gone over again.
  using value_type = TensorList::value_type;           ///< Name and tensor.
  using difference_type = std::ptrdiff_t;              ///< Between two places.
  using reference = value_type;                        ///< A pair of references, by value.
  using pointer = void;                                ///< There is no `->`.

  /// Belongs to no list; to be assigned to.
  Iterator() noexcept = default;
  /// Points at an element of an array.
  explicit Iterator(const Tensor* tensor) noexcept : tensor_(tensor) {}

  /// Name and tensor.
  [[nodiscard]] value_type operator*() const noexcept { return {tensor_->name(), *tensor_}; }
  /// To the next one.
  Iterator& operator++() noexcept {
    ++tensor_;
    return *this;
  }
  /// To the next one; returns where it was.
  Iterator operator++(int) noexcept { return Iterator(tensor_++); }
  /// Same place.
  friend bool operator==(const Iterator&, const Iterator&) noexcept = default;

 private:
  const Tensor* tensor_ = nullptr;
};

}  // namespace warpload
