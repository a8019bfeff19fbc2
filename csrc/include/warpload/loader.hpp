// From checkpoints to tensors: one arena, a worker pool, a handle to wait on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "warpload/checkpoint.hpp"
#include "warpload/dtype.hpp"
#include "warpload/tensor.hpp"

namespace warpload {

// What one checkpoint (one component of a pipeline) becomes. It gets one segment of the arena.
struct SegmentRequest {
  Checkpoint::Ptr checkpoint;
  std::optional<DType> dtype = {};  // for floating-point tensors; nothing keeps each tensor's own
  std::unordered_map<std::string, DType> tensor_dtypes = {};  // overrides `dtype`, by name
  std::optional<std::unordered_set<std::string>> only = {};   // these tensors and no others
  bool zero_copy = true;  // a tensor that is not cast, and lies aligned, becomes a view of the file's private mapping
};

// How files are read. Bytes that are in the page cache come from there fastest; bytes that are not come faster past it.
enum class DirectIo {
  kAuto,    // by what is in the page cache, range by range
  kNever,   // always through the page cache
  kAlways,  // past it wherever the file system allows, whatever it holds; for tests and measurements
};

struct LoaderOptions {
  unsigned threads = 0;  // workers; 0 takes the processors that this process may run on
  DirectIo direct_io = DirectIo::kAuto;
};

struct LoadProgress {
  std::uint64_t bytes_done = 0;  // bytes of files that have arrived in the arena; views count as nothing
  std::uint64_t bytes_total = 0;
};

// A load under way. Move-only. Destroying it cancels what has not been done, waits for the workers and gives
// back what no tensor refers to. Threads: all members may be called from several threads at once, except the
// destructor and moves.
class LoadHandle {
 public:
  LoadHandle(LoadHandle&&) noexcept;
  LoadHandle& operator=(LoadHandle&&) noexcept;
  ~LoadHandle();

  // True once the load has ended, well or badly; every worker has then left the arena.
  [[nodiscard]] bool done() const noexcept;
  void wait() const;
  [[nodiscard]] bool wait_for(std::chrono::milliseconds timeout) const;

  // True once all bytes of that segment are in place. Returns true as well when the load has failed: get()
  // tells.
  [[nodiscard]] bool wait_segment_for(std::size_t segment, std::chrono::milliseconds timeout) const;

  [[nodiscard]] LoadProgress progress() const noexcept;

  // Asks the workers to stop; get() then throws CancelledError, unless the load had ended before. Does not
  // wait.
  void cancel() noexcept;

  // Throws the first error of a load that has failed so far; returns otherwise. Drained before it throws.
  void rethrow_if_failed() const;

  [[nodiscard]] std::size_t segment_count() const noexcept;

  // The tensors of one segment, in the checkpoint's order. They are there at once, so that a caller can bind
  // them while the bytes are under way; what they hold is meaningless until wait_segment_for has returned
  // true and rethrow_if_failed has returned.
  [[nodiscard]] const std::vector<Tensor>& tensors(std::size_t segment) const;

  // Waits, then throws the first worker's error or returns the tensors of all segments, in order.
  [[nodiscard]] std::vector<std::vector<Tensor>> get() const;

 private:
  friend class Loader;
  struct State;
  explicit LoadHandle(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// Owns the workers. Threads: start may be called from any thread; loads run side by side on the same workers.
// A loader may be destroyed before its handles. Not usable in a child after fork (its threads stay in the
// parent).
class Loader {
 public:
  explicit Loader(LoaderOptions options = {});
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;
  ~Loader();

  [[nodiscard]] unsigned threads() const noexcept;

  // Plans all requests, reserves one arena for them and starts filling it, in the order given. Throws before
  // anything moves: InvalidArgumentError, OutOfMemoryError (with the sizes), IoError (a file that has
  // shrunk).
  [[nodiscard]] LoadHandle start(const std::vector<SegmentRequest>& requests) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace warpload
