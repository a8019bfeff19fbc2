/// @file
/// Lists of loaded tensors.
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

/// The tensors of one segment in the checkpoint's order, found by position or by name.
///
///     for (const auto& [name, tensor] : tensors) ...
///     tensors.at("conv_in.weight").data()
///
/// Ownership: cheap to copy, immutable; holds every tensor in it. References and iterators stay valid as long as any
/// copy of the list. Threads: every member may be called from any thread.
class WARPLOAD_API TensorList {
 public:
  class Iterator;
  /// What iterating gives: the tensor's name and the tensor, as references into the list.
  using value_type = std::pair<const std::string&, const Tensor&>;
  /// The type of all iterators: a list cannot be changed.
  using const_iterator = Iterator;

  /// Makes a list without tensors.
  TensorList() noexcept;

  /// Makes a list of tensors in this order. Where a name repeats, the first tensor that has it is found.
  explicit TensorList(std::vector<Tensor> tensors);

  /// How many tensors there are.
  [[nodiscard]] std::size_t size() const noexcept;

  /// True when there are no tensors.
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// The tensor at a position, which has to be below size().
  [[nodiscard]] const Tensor& operator[](std::size_t position) const& noexcept;
  /// A copy of the tensor at a position, which has to be below size(): the list itself is about to go.
  [[nodiscard]] Tensor operator[](std::size_t position) && { return std::as_const(*this)[position]; }

  /// The tensor of that name, or nullptr when there is none. The first call makes an index.
  [[nodiscard]] const Tensor* find(std::string_view name) const&;
  /// Not for a list that is about to go: the pointer would outlive the tensor.
  const Tensor* find(std::string_view name) && = delete;

  /// The tensor of that name.
  ///
  /// @throws InvalidArgumentError when there is none.
  [[nodiscard]] const Tensor& at(std::string_view name) const&;
  /// A copy of the tensor of that name: the list itself is about to go.
  ///
  /// @throws InvalidArgumentError when there is none.
  [[nodiscard]] Tensor at(std::string_view name) && { return std::as_const(*this).at(name); }

  /// An iterator to the first tensor.
  [[nodiscard]] Iterator begin() const noexcept;

  /// The iterator behind the last tensor.
  [[nodiscard]] Iterator end() const noexcept;

 private:
  struct WARPLOAD_HIDDEN Table;
  std::shared_ptr<const Table> table_;
};

/// Iterates over a TensorList. Valid as long as any copy of the list.
class TensorList::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;   ///< By the rules of C++17 an input iterator: `*` gives a value.
  using iterator_concept = std::forward_iterator_tag;  ///< By the rules of C++20 a forward iterator.
  using value_type = TensorList::value_type;           ///< The tensor's name and the tensor.
  using difference_type = std::ptrdiff_t;              ///< The distance between two iterators.
  using reference = value_type;                        ///< What `*` gives: a pair of references, by value.
  using pointer = void;                                ///< Nothing, as there is no `->`.

  /// Makes an iterator that belongs to no list and can only be assigned to.
  Iterator() noexcept = default;
  /// Makes an iterator to an element of an array.
  explicit Iterator(const Tensor* tensor) noexcept : tensor_(tensor) {}

  /// The name and the tensor that this points to.
  [[nodiscard]] value_type operator*() const noexcept { return {tensor_->name(), *tensor_}; }
  /// Moves to the next tensor.
  Iterator& operator++() noexcept {
    ++tensor_;
    return *this;
  }
  /// Moves to the next tensor, and returns an iterator to the one before.
  Iterator operator++(int) noexcept { return Iterator(tensor_++); }
  /// True when both point to the same tensor.
  friend bool operator==(const Iterator&, const Iterator&) noexcept = default;

 private:
  const Tensor* tensor_ = nullptr;
};

}  // namespace warpload
