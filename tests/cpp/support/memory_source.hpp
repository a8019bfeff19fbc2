// A ByteSource in memory that can be slow, fail and shrink.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "warpload/byte_source.hpp"
#include "warpload/error.hpp"

namespace warpload::testing {

// What goes wrong with a MemorySource; by default nothing.
struct MemorySourceOptions {
  std::string path = "memory.safetensors";
  std::optional<std::uint64_t> fail_at_read = {};     // the read with this number (from 0) and all later ones fail
  int system_error = 5;                               // errno of those failures (EIO)
  std::optional<std::uint64_t> size_after_open = {};  // bytes that are really left, as if the file had shrunk
  std::chrono::microseconds delay = {};               // every read takes at least this long
};

class MemorySource final : public ByteSource {
 public:
  using Options = MemorySourceOptions;

  explicit MemorySource(std::vector<std::byte> bytes, Options options = {})
      : bytes_(std::move(bytes)), options_(std::move(options)) {}
  explicit MemorySource(std::string_view bytes, Options options = {})
      : MemorySource(to_vector(bytes), std::move(options)) {}

  [[nodiscard]] const std::string& path() const noexcept override { return options_.path; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }

  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override {
    const std::uint64_t number = read_count_.fetch_add(1);
    byte_count_.fetch_add(destination.size());
    if (options_.delay.count() > 0) std::this_thread::sleep_for(options_.delay);
    const ByteRange range{offset, offset + destination.size()};
    if (options_.fail_at_read && number >= *options_.fail_at_read) {
      throw IoError(
          {.reason = "injected failure", .path = options_.path, .range = range, .system_error = options_.system_error});
    }
    const std::uint64_t left = std::min<std::uint64_t>(options_.size_after_open.value_or(size()), size());
    if (range.end > left) {
      throw IoError({.reason = "the file shrank while it was being read",
                     .path = options_.path,
                     .range = ByteRange{std::max(offset, left), range.end}});
    }
    if (!destination.empty()) std::memcpy(destination.data(), bytes_.data() + offset, destination.size());
  }

  // How many reads were asked for, and how many bytes.
  [[nodiscard]] std::uint64_t read_count() const noexcept { return read_count_.load(); }
  [[nodiscard]] std::uint64_t byte_count() const noexcept { return byte_count_.load(); }
  [[nodiscard]] const std::vector<std::byte>& bytes() const noexcept { return bytes_; }

 private:
  static std::vector<std::byte> to_vector(std::string_view bytes) {
    const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
    return {begin, begin + bytes.size()};
  }

  std::vector<std::byte> bytes_;
  Options options_;
  mutable std::atomic<std::uint64_t> read_count_{0};
  mutable std::atomic<std::uint64_t> byte_count_{0};
};

}  // namespace warpload::testing
