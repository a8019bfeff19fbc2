#include "warpload/loader.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "exec/thread_pool.hpp"
#include "load/load_state.hpp"

namespace warpload {
namespace {

// Memory bandwidth is spent long before; more workers only fight over it.
constexpr unsigned kMostDefaultThreads = 32;

unsigned thread_count(const LoaderOptions& options) {
  if (options.threads != 0) return options.threads;
  return std::min(ThreadPool::usable_processors(), kMostDefaultThreads);
}

// A child after fork has none of the parent's threads: joining them would hang, so there the pool is left
// behind.
std::shared_ptr<ThreadPool> make_pool(unsigned threads) {
  return {new ThreadPool(threads), [owner = ::getpid()](ThreadPool* pool) {
            if (::getpid() == owner) delete pool;
          }};
}

}  // namespace

struct Loader::State {
  explicit State(const LoaderOptions& options) : pool(make_pool(thread_count(options))), direct_io(options.direct_io) {}
  std::shared_ptr<ThreadPool> pool;  // shared with the handles: it outlives the last load
  DirectIo direct_io;
};

Loader::Loader(LoaderOptions options) : state_(std::make_shared<State>(options)) {}
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

unsigned Loader::threads() const noexcept { return state_->pool->size(); }

LoadHandle Loader::start(const std::vector<SegmentRequest>& requests) const {
  auto state = std::make_unique<LoadHandle::State>(state_->pool, requests, state_->direct_io);
  state->start();
  return LoadHandle(std::move(state));
}

}  // namespace warpload
