/// @file
/// Loaded tensors: a description and shared ownership of the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "warpload/device.hpp"
#include "warpload/dtype.hpp"
#include "warpload/export.h"

namespace warpload {

/// A loaded tensor, row-major and contiguous.
///
/// Ownership: cheap to copy. The memory lives as long as any copy, whatever becomes of the load, the loader or the
/// checkpoint. Threads: as a plain value; the bytes are the caller's to synchronise.
class WARPLOAD_API Tensor {
 public:
  /// Makes a tensor of memory that the caller fills.
  Tensor(std::string name, DType dtype, std::vector<std::uint64_t> shape, std::shared_ptr<std::byte> memory,
         std::uint64_t nbytes, DeviceId device = {})
      : name_(std::move(name)),
        dtype_(dtype),
        shape_(std::move(shape)),
        memory_(std::move(memory)),
        nbytes_(nbytes),
        device_(device) {}

  /// The tensor's name in the checkpoint.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// The dtype of the loaded elements; the file may have another one.
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }

  /// How many elements there are along each axis, the slowest first; empty for a scalar.
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const noexcept { return shape_; }

  /// The bytes of all elements together.
  [[nodiscard]] std::uint64_t nbytes() const noexcept { return nbytes_; }

  /// The device that the bytes are on; data() is an address of it.
  [[nodiscard]] DeviceId device() const noexcept { return device_; }

  /// The first byte; nullptr for an empty tensor. Its address is a multiple of 256; that of a view of a file, a
  /// multiple of the dtype's alignment. The bytes may be written: a view of a file is copied on write.
  [[nodiscard]] std::byte* data() const noexcept { return memory_.get(); }

  /// The owner of the memory, for handing it on. dlpack.hpp hands a tensor on in the standard way.
  [[nodiscard]] const std::shared_ptr<std::byte>& memory() const noexcept { return memory_; }

 private:
  std::string name_;
  DType dtype_;
  std::vector<std::uint64_t> shape_;
  std::shared_ptr<std::byte> memory_;
  std::uint64_t nbytes_;
  DeviceId device_;
};

}  // namespace warpload
