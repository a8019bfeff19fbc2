/// @file
/// A loaded tensor: a description and shared ownership of its memory.
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

/// A loaded tensor. Cheap to copy. The memory lives as long as any copy, whatever becomes of the load, the loader or
/// the checkpoint. Row-major, contiguous. Threads: as a plain value; the bytes are the caller's to synchronise.
class WARPLOAD_API Tensor {
 public:
  /// For whoever fills the memory.
  Tensor(std::string name, DType dtype, std::vector<std::uint64_t> shape, std::shared_ptr<std::byte> memory,
         std::uint64_t nbytes, DeviceId device = {})
      : name_(std::move(name)),
        dtype_(dtype),
        shape_(std::move(shape)),
        memory_(std::move(memory)),
        nbytes_(nbytes),
        device_(device) {}

  /// Its name in the checkpoint.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// What its elements are now; the file may hold another dtype.
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }

  /// Elements along each axis, the slowest first; empty for a scalar.
  [[nodiscard]] const std::vector<std::uint64_t>& shape() const noexcept { return shape_; }

  /// Bytes of all elements.
  [[nodiscard]] std::uint64_t nbytes() const noexcept { return nbytes_; }

  /// Where the bytes are; data() is an address there.
  [[nodiscard]] DeviceId device() const noexcept { return device_; }

  /// First byte, at a multiple of 256 (a view of a file: of the dtype's alignment); nullptr for an empty tensor.
  /// Writable: a view of a file is copy-on-write.
  [[nodiscard]] std::byte* data() const noexcept { return memory_.get(); }

  /// The owner, for handing the memory on; dlpack.hpp does so in the standard way.
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
