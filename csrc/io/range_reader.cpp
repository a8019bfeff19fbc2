#include "io/range_reader.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "warpload/error.hpp"

namespace warpload {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// A window begins and ends anywhere in a block; whole huge pages.
constexpr std::size_t kBufferBytes =
    (RangeReader::kWindowBytes + 2 * DirectFile::kMemoryAlignment + kHugePage - 1) / kHugePage * kHugePage;

// A disk takes only so many stretches of memory in one request (254 are usual for a virtual one). In small pages, each
// a stretch of its own, requests stay below 1 MiB and a direct read can be half as fast as the disk is.
std::byte* allocate_buffer() {
  void* memory = std::aligned_alloc(kHugePage, kBufferBytes);
  if (memory == nullptr) throw std::bad_alloc();
  ::madvise(memory, kBufferBytes, MADV_HUGEPAGE);  // advice: without it reads are right, only slower
  return static_cast<std::byte*>(memory);
}

}  // namespace

const OpenFiles::Lease& RangeReader::lease_of(const File& file) {
  if (leased_ == &file && lease_) return lease_;
  leased_ = nullptr;
  lease_.reset();  // first, so that it does not count
  lease_ = file.lease();
  leased_ = &file;
  return lease_;
}

// Null where the file system does not take direct reads.
const DirectFile* RangeReader::direct_of(const File& file) {
  const OpenFiles::Lease& lease = lease_of(file);
  return lease && lease->direct().possible() ? &lease->direct() : nullptr;
}

void RangeReader::Free::operator()(std::byte* memory) const noexcept { std::free(memory); }

std::span<const std::byte> RangeReader::view(const File& file, ByteRange range, std::uint64_t lookahead_end) {
  // Ranges beyond the file's end are left to the plain read, which words the error.
  const bool impossible = range.size() == 0 || range.size() > kWindowBytes || range.end > file.size();
  if (mode_ == DirectIo::kNever || impossible) return {};
  if (!window_.covers(file, range)) {
    if (hot_.covers(file, range)) return {};
    const std::uint64_t end = std::min({lookahead_end, range.begin + kWindowBytes, file.size()});
    const ByteRange window{range.begin, std::max(range.end, end)};
    if (is_hot(file, window)) {
      hot_ = {&file, window};
      return {};
    }
    fill(file, window);
    if (!window_.covers(file, range)) return {};
  }
  return {buffer_.get() + (range.begin - buffer_begin_), static_cast<std::size_t>(range.size())};
}

std::optional<std::size_t> RangeReader::read_straight(const File& file, ByteRange range, std::span<std::byte> memory) {
  const bool impossible = range.size() == 0 || range.end > file.size();
  if (mode_ == DirectIo::kNever || impossible) return std::nullopt;
  if (is_hot(file, range)) {
    hot_ = {&file, range};  // view() need not ask again
    return std::nullopt;
  }
  const DirectFile* direct = direct_of(file);
  if (direct == nullptr) return std::nullopt;
  const std::uint64_t begin = range.begin / direct->block() * direct->block();
  const std::uint64_t size = (range.end - begin + direct->block() - 1) / direct->block() * direct->block();
  if (size > memory.size()) return std::nullopt;
  const std::size_t valid = direct->read(begin, memory.first(static_cast<std::size_t>(size)));
  if (begin + valid < range.end) return std::nullopt;  // the plain read says what is wrong
  ++fetches_;
  return static_cast<std::size_t>(range.begin - begin);
}

void RangeReader::read_plainly(const ByteSource& source, const File* file, ByteRange range,
                               std::span<std::byte> destination) {
  if (file != nullptr) {
    file->read_exact(lease_of(*file), range.begin, destination);
  } else {
    source.read_exact(range.begin, destination);
  }
}

bool RangeReader::is_hot(const File& file, ByteRange window) const {
  if (mode_ == DirectIo::kAlways) return false;
  const PageCount some = file.residency().sample(window);
  if (some.resident == some.total || some.resident == 0) return some.resident != 0;
  const PageCount pages = file.residency().count(window);
  return pages.resident * 2 >= pages.total;
}

// Leaves as much of the window in the buffer as could be had; perhaps nothing.
void RangeReader::fill(const File& file, ByteRange window) {
  window_ = {};
  if (!buffer_) buffer_.reset(allocate_buffer());
  if (!fill_directly(file, window)) fill_through_cache(file, window);
}

// False where the file system does not take direct reads.
bool RangeReader::fill_directly(const File& file, ByteRange window) {
  const DirectFile* direct = direct_of(file);
  if (direct == nullptr) return false;
  const std::uint64_t begin = window.begin / direct->block() * direct->block();
  const std::uint64_t end = (window.end + direct->block() - 1) / direct->block() * direct->block();
  const std::size_t valid = direct->read(begin, {buffer_.get(), static_cast<std::size_t>(end - begin)});
  if (!direct->possible()) return false;
  ++fetches_;
  buffer_begin_ = begin;
  window_ = {&file, {window.begin, std::clamp(begin + valid, window.begin, window.end)}};
  return true;
}

void RangeReader::fill_through_cache(const File& file, ByteRange window) {
  try {
    file.read_exact(lease_of(file), window.begin, {buffer_.get(), static_cast<std::size_t>(window.size())});
  } catch (const IoError&) {
    return;  // what is wrong may lie beyond the range that was asked for; its own read will tell
  }
  if (mode_ != DirectIo::kAlways) ++fetches_;  // else nobody has looked where they were
  buffer_begin_ = window.begin;
  window_ = {&file, window};
}

}  // namespace warpload
