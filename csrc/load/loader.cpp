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
  explicit State(unsigned threads) : pool(make_pool(threads)) {}
  std::shared_ptr<ThreadPool> pool;  // shared with the handles: it outlives the last load
};

Loader::Loader(LoaderOptions options) : state_(std::make_shared<State>(thread_count(options))) {}
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

unsigned Loader::threads() const noexcept { return state_->pool->size(); }

LoadHandle Loader::start(const std::vector<SegmentRequest>& requests) const {
  auto state = std::make_unique<LoadHandle::State>(state_->pool, requests);
  state->start();
  return LoadHandle(std::move(state));
}

}  // namespace warpload
