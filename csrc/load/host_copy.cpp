#include "load/host_copy.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "io/byte_source.hpp"

namespace warpload {
namespace {

// A source knows its path and the bytes; which tensor they were to become is known here.
[[noreturn]] void rethrow_with_tensor(const IoError& error, const Checkpoint& checkpoint, const ReadRun& run) {
  const std::uint64_t at = error.range() ? error.range()->begin : run.source.begin;
  const auto& tensors = checkpoint.tensors();
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const TensorInfo& tensor) {
    return tensor.shard == run.shard && tensor.range.begin <= at && at < tensor.range.end;
  });
  throw IoError({.reason = error.reason(),
                 .path = error.path(),
                 .tensor = found == tensors.end() ? error.tensor() : found->name,
                 .range = error.range(),
                 .system_error = error.system_error(),
                 .cure = error.cure()});
}

}  // namespace

HostCopier::HostCopier(std::uint64_t run_bytes) : buffer_(run_bytes) {}

void HostCopier::copy(const LoadPlan& plan, const ReadRun& run, const Checkpoint& checkpoint, std::byte* destination) {
  const ByteSource& source = checkpoint.source(run.shard);
  const std::span<const Piece> pieces = std::span(plan.pieces).subspan(run.first_piece, run.piece_count);
  try {
    // A run that is one uncast piece needs no stop on the way.
    if (pieces.size() == 1 && pieces[0].cast == nullptr) {
      source.read_exact(run.source.begin, {destination + pieces[0].destination_offset, pieces[0].count});
      return;
    }
    source.read_exact(run.source.begin, std::span(buffer_).first(run.source.size()));
  } catch (const IoError& error) {
    rethrow_with_tensor(error, checkpoint, run);
  }
  for (const Piece& piece : pieces) {
    const std::byte* from = buffer_.data() + piece.source_offset;
    std::byte* to = destination + piece.destination_offset;
    if (piece.cast != nullptr) {
      piece.cast(from, to, piece.count);
    } else {
      std::memcpy(to, from, piece.count);
    }
  }
}

}  // namespace warpload
