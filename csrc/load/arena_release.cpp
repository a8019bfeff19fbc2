#include "load/arena_release.hpp"

#include <utility>

namespace warpload {
namespace {

class SegmentShare {
 public:
  SegmentShare(std::shared_ptr<Segment> segment, std::uint64_t offset, std::uint64_t bytes) noexcept
      : segment_(std::move(segment)), offset_(offset), bytes_(bytes) {}
  SegmentShare(const SegmentShare&) = delete;
  SegmentShare& operator=(const SegmentShare&) = delete;
  ~SegmentShare() {
    // The last share leaves it to the segment's own end.
    if (segment_.use_count() > 1) segment_->release(offset_, bytes_);
  }

  [[nodiscard]] std::byte* data() const noexcept { return segment_->data() + offset_; }

 private:
  std::shared_ptr<Segment> segment_;
  std::uint64_t offset_;
  std::uint64_t bytes_;
};

}  // namespace

std::shared_ptr<std::byte> share_segment(std::shared_ptr<Segment> segment, std::uint64_t offset, std::uint64_t bytes) {
  auto share = std::make_shared<SegmentShare>(std::move(segment), offset, bytes);
  std::byte* const data = share->data();
  return {std::move(share), data};
}

ArenaParts::~ArenaParts() {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) part->arena.release(part->begin, part->bytes);
}

std::shared_ptr<Segment> ArenaParts::take(const Arena& arena, std::uint64_t bytes) {
  parts_.reserve(parts_.size() + 1);
  auto owner = std::make_shared<Arena>(arena);
  std::byte* const begin = arena.take(bytes);
  parts_.push_back({arena, begin, bytes});
  return std::make_shared<AdoptedSegment>(begin, bytes, std::move(owner));
}

}  // namespace warpload
