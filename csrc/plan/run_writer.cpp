#include "plan/run_writer.hpp"

#include <algorithm>

namespace warpload {

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return add_sizes(value, alignment - 1) / alignment * alignment;
}

std::uint64_t add_sizes(std::uint64_t left, std::uint64_t right) {
  std::uint64_t sum = 0;
  if (!__builtin_add_overflow(left, right, &sum)) return sum;
  throw OutOfMemoryError({.reason = "the checkpoint's tensors do not fit in 64 bits of address"});
}

void RunWriter::add(const TensorPart& part) {
  std::uint64_t begin = part.source.begin;
  std::uint64_t destination = part.destination;
  while (begin < part.source.end) {
    ReadRun& run = open_run(part.shard, begin, part.source_bytes);
    const std::uint64_t room = (limits_.run_bytes - run.source.size()) / part.source_bytes;
    const std::uint64_t count = std::min(room, (part.source.end - begin) / part.source_bytes);
    plan_.pieces.push_back({run.source.size(), destination, count, part.cast});
    ++run.piece_count;
    run.source.end += count * part.source_bytes;
    begin += count * part.source_bytes;
    destination += count * part.result_bytes;
  }
}

ReadRun& RunWriter::open_run(std::size_t shard, std::uint64_t begin, std::uint64_t source_bytes) {
  if (plan_.runs.size() > first_open_) {
    ReadRun& last = plan_.runs.back();
    const bool continues = last.shard == shard && last.source.end == begin;
    if (continues && last.source.size() + source_bytes <= limits_.run_bytes) return last;
  }
  plan_.runs.push_back({segment_, shard, {begin, begin}, plan_.pieces.size(), 0});
  return plan_.runs.back();
}

}  // namespace warpload
