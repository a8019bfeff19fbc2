// The index of a sharded checkpoint, by both of its rules.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "format/shard_index.hpp"
#include "fuzz/support.hpp"

namespace {

using warpload::IndexRules;
using warpload::fuzz::require;

void read(const std::string& path, IndexRules rules) {
  warpload::fuzz::accepted_or_refused([&] {
    const auto index = warpload::read_shard_index(path, rules);
    for (const auto& [name, shard] : index.tensor_to_shard) require(shard < index.shards.size());
    for (const auto& shard : index.shards) {
      require(shard.string().starts_with("/proc/self/fd/") && shard == shard.lexically_normal());
    }
  });
}

}  // namespace

// It is read from a path; a file in memory has one, too.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const warpload::UniqueFd memory(::memfd_create("index", MFD_CLOEXEC));
  require(::ftruncate(memory.get(), 0) == 0);
  require(::pwrite(memory.get(), data, size, 0) == static_cast<ssize_t>(size));
  const std::string path = "/proc/self/fd/" + std::to_string(memory.get());
  read(path, IndexRules::strict);
  read(path, IndexRules::as_published);
  return 0;
}
