// A safetensors file of any size that has no data: for what only looks at headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "cpp/support/safetensors_bytes.hpp"
#include "warpload/byte_source.hpp"

namespace warpload::testing {

// A header in front of as many bytes as anybody likes, which nobody may read.
class ClaimedSource final : public ByteSource {
 public:
  ClaimedSource(const std::string& header, std::uint64_t data)
      : begin_(safetensors_bytes(header)), size_(begin_.size() + data) {}

  [[nodiscard]] const std::string& path() const noexcept override { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override {
    if (offset + destination.size() > begin_.size()) std::abort();
    std::memcpy(destination.data(), begin_.data() + offset, destination.size());
  }

 private:
  std::string path_ = "claimed.safetensors";
  std::string begin_;
  std::uint64_t size_;
};

}  // namespace warpload::testing
