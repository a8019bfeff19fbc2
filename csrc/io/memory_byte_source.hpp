// Bytes that are in memory already, as a source like any other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "warpload/byte_source.hpp"

namespace warpload {

// The memory may be a mapping of a file: its pages are faulted in many at a time before they are copied, and where the
// file has become shorter in the meantime that gives an IoError, where touching them would raise SIGBUS.
class MemoryByteSource final : public ByteSource {
 public:
  // `owner` keeps the memory; it may be released on any thread. `name` is for error messages.
  MemoryByteSource(std::span<const std::byte> bytes, std::shared_ptr<void> owner, std::string name)
      : bytes_(bytes), owner_(std::move(owner)), name_(std::move(name)) {}

  [[nodiscard]] const std::string& path() const noexcept override { return name_; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }
  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override;

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<void> owner_;
  std::string name_;
};

}  // namespace warpload
