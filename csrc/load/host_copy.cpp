#include "load/host_copy.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "io/file.hpp"
#include "warpload/byte_source.hpp"

namespace warpload {
namespace {

template <class AnyError>
[[noreturn]] void rethrow_naming(const AnyError& error, std::uint64_t at, const Checkpoint& checkpoint,
                                 const ReadRun& run) {
  const auto& tensors = checkpoint.tensors();
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& tensor) {
    return tensor.shard == run.shard && tensor.range.begin <= at && at < tensor.range.end;
  });
  ErrorContext context = error.context();
  if (context.path.empty()) context.path = checkpoint.shard_path(run.shard);
  if (found != tensors.end()) context.tensor = found->name;
  if (!context.range) context.range = run.source;
  throw AnyError(std::move(context));
}

// How far to read ahead of a run: over the runs of its batch that go on where it ends in the file, in windows of about
// the same size (a small last one would cost a whole trip to the disk too) that end where a run does (a run across an
// end would be read twice).
std::uint64_t find_lookahead_end(const LoadPlan& plan, const Batch& batch, std::size_t run_index) {
  const ReadRun& run = plan.runs[run_index];
  std::size_t last = run_index;  // of those runs
  while (last + 1 < batch.first_run + batch.run_count) {
    const ReadRun& following = plan.runs[last + 1];
    const bool same_file = following.segment == run.segment && following.shard == run.shard;
    if (!same_file || following.source.begin != plan.runs[last].source.end) break;
    ++last;
  }
  const auto bytes_up_to = [&](std::size_t index) { return plan.runs[index].source.end - run.source.begin; };
  const std::uint64_t windows = (bytes_up_to(last) + RangeReader::kWindowBytes - 1) / RangeReader::kWindowBytes;
  std::size_t end = run_index;
  while (end < last && bytes_up_to(end) * windows < bytes_up_to(last) &&
         bytes_up_to(end + 1) <= RangeReader::kWindowBytes) {
    ++end;
  }
  return plan.runs[end].source.end;
}

void spread(std::span<const Piece> pieces, const std::byte* source, std::byte* destination) {
  for (const Piece& piece : pieces) {
    const std::byte* from = source + piece.source_offset;
    std::byte* to = destination + piece.destination_offset;
    if (piece.cast != nullptr) {
      piece.cast(from, to, piece.count);
    } else {
      std::memcpy(to, from, piece.count);
    }
  }
}

bool casts_any(std::span<const Piece> pieces) {
  return std::any_of(pieces.begin(), pieces.end(), [](const Piece& piece) { return piece.cast != nullptr; });
}

// A run of few uncast pieces needs no stop on the way; many small ones are cheaper in one read.
bool may_be_read_apart(std::span<const Piece> pieces, const ReadRun& run) {
  constexpr std::uint64_t kWorthARead = std::uint64_t{64} << 10;
  if (pieces.size() > 1 && run.source.size() / pieces.size() < kWorthARead) return false;
  return !casts_any(pieces);
}

// The batch's range of one file, if its slot is to hold just that.
std::optional<ByteRange> find_straight_range(const LoadPlan& plan, const Batch& batch) {
  const ReadRun& first = plan.runs[batch.first_run];
  const ReadRun& last = plan.runs[batch.first_run + batch.run_count - 1];
  for (std::size_t index = batch.first_run; index < batch.first_run + batch.run_count; ++index) {
    const ReadRun& run = plan.runs[index];
    if (run.shard != first.shard) return std::nullopt;
    for (const Piece& piece : std::span(plan.pieces).subspan(run.first_piece, run.piece_count)) {
      const std::uint64_t in_batch = run.source.begin + piece.source_offset - first.source.begin;
      if (piece.cast != nullptr || piece.destination_offset != in_batch) return std::nullopt;
    }
  }
  return ByteRange{first.source.begin, last.source.end};
}

}  // namespace

void rethrow_with_tensor(const IoError& error, const Checkpoint& checkpoint, const ReadRun& run) {
  rethrow_naming(error, error.range() ? error.range()->begin : run.source.begin, checkpoint, run);
}

void rethrow_with_tensor(const DeviceError& error, const Checkpoint& checkpoint, const ReadRun& run) {
  rethrow_naming(error, run.source.begin, checkpoint, run);
}

HostCopier::HostCopier(std::uint64_t run_bytes, DirectIo mode, LoadClock& clock, TracePen& pen)
    : reader_(mode), timer_(clock), buffer_(run_bytes), pen_(pen) {}

void HostCopier::copy(const LoadPlan& plan, const Batch& batch, std::size_t run_index, const Checkpoint& checkpoint,
                      std::byte* destination) {
  const ReadRun& run = plan.runs[run_index];
  const std::span<const Piece> pieces = std::span(plan.pieces).subspan(run.first_piece, run.piece_count);
  const std::uint64_t fetches = reader_.fetches();
  timer_.begin(run_index == batch.first_run);
  std::span<const std::byte> bytes;
  pen_.begin();
  try {
    bytes = read(plan, batch, run_index, checkpoint, destination);
  } catch (const IoError& error) {
    rethrow_with_tensor(error, checkpoint, run);
  }
  pen_.end(TraceKind::kReading, run.segment, run.source.size());
  const bool casts = casts_any(pieces);
  if (!casts && !bytes.empty()) {
    spread(pieces, bytes.data(), destination);
    pen_.end(TraceKind::kCopying, run.segment, run.source.size());
  }
  if (reader_.fetches() != fetches) {
    timer_.fetched();
  } else {
    timer_.read_plainly(run.source.size());
  }
  if (casts) {
    spread(pieces, bytes.data(), destination);
    pen_.end(TraceKind::kCasting, run.segment, run.source.size());
    timer_.cast();
  }
  if (run_index + 1 == batch.first_run + batch.run_count) timer_.end_batch();
}

// The run's bytes, where they are not in their place already: empty then.
std::span<const std::byte> HostCopier::read(const LoadPlan& plan, const Batch& batch, std::size_t run_index,
                                            const Checkpoint& checkpoint, std::byte* destination) {
  const ReadRun& run = plan.runs[run_index];
  const ByteSource& source = checkpoint.source(run.shard);
  const File* const file = checkpoint.file(run.shard);
  if (file != nullptr) {
    const auto bytes = reader_.view(*file, run.source, find_lookahead_end(plan, batch, run_index));
    if (!bytes.empty()) return bytes;
  }
  const std::span<const Piece> pieces = std::span(plan.pieces).subspan(run.first_piece, run.piece_count);
  if (!may_be_read_apart(pieces, run)) {
    const auto buffer = std::span(buffer_).first(run.source.size());
    reader_.read_plainly(source, file, run.source, buffer);
    return buffer;
  }
  for (const Piece& piece : pieces) {
    const std::uint64_t begin = run.source.begin + piece.source_offset;
    reader_.read_plainly(source, file, {begin, begin + piece.count},
                         {destination + piece.destination_offset, piece.count});
  }
  return {};
}

std::optional<std::size_t> HostCopier::read_straight(const LoadPlan& plan, const Batch& batch,
                                                     const Checkpoint& checkpoint, std::span<std::byte> slot) {
  const File* file = checkpoint.file(plan.runs[batch.first_run].shard);
  if (file == nullptr) return std::nullopt;
  const std::optional<ByteRange> range = find_straight_range(plan, batch);
  if (!range) return std::nullopt;
  timer_.begin(true);
  pen_.begin();
  const std::optional<std::size_t> begin = reader_.read_straight(*file, *range, slot);
  if (begin) {
    pen_.end(TraceKind::kReading, plan.runs[batch.first_run].segment, range->size());
    timer_.fetched();
  }
  return begin;
}

}  // namespace warpload
