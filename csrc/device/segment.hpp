// One component's share of an arena, on whatever device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace warpload {

// Owns its memory; the destructor releases it. The address is the device's: only the host's may be followed by the
// processor. Threads: immutable but for release.
class Segment {
 public:
  Segment(std::byte* begin, std::uint64_t bytes) noexcept : begin_(begin), bytes_(bytes) {}
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  virtual ~Segment() = default;

  [[nodiscard]] std::byte* data() const noexcept { return begin_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  // The range is needed no more although the segment lives on; what can be released by itself is. Its contents
  // are then undefined.
  virtual void release(std::uint64_t /*offset*/, std::uint64_t /*bytes*/) const noexcept {}

 private:
  std::byte* begin_;
  std::uint64_t bytes_;
};

// Memory that somebody else allocated: released with `owner`, on whatever thread releases the last tensor.
class AdoptedSegment final : public Segment {
 public:
  AdoptedSegment(std::byte* begin, std::uint64_t bytes, std::shared_ptr<void> owner) noexcept
      : Segment(begin, bytes), owner_(std::move(owner)) {}

 private:
  std::shared_ptr<void> owner_;
};

}  // namespace warpload
