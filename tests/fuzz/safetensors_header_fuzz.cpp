// libFuzzer target over everything that parses bytes from strangers: the header of a safetensors file and the
// index of a sharded checkpoint. The first byte of the input chooses; for headers the correct length is put
// in front in half of the cases, which the fuzzer would hardly ever guess.
// CMakeLists.txt beside this file says how to build and run it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "format/safetensors_header.hpp"
#include "format/shard_index.hpp"
#include "warpload/error.hpp"

namespace {

using warpload::Error;
using warpload::HeaderTensor;
using warpload::SafetensorsHeader;

void require(bool condition) {
  if (!condition) std::abort();
}

// A refusal must be explained: where, what, and what to do.
void check_error(const Error& error) {
  require(error.code() == warpload::ErrorCode::kFormat && !error.path().empty() && !error.reason().empty() &&
          !error.cure().empty());
  require(!error.range() || error.range()->begin <= error.range()->end);
}

// Whatever was accepted covers the data section exactly, in order.
void check_header(const SafetensorsHeader& header, std::uint64_t size) {
  std::uint64_t covered = header.data_begin;
  require(covered > 8 && covered <= size);
  for (const HeaderTensor& tensor : header.tensors) {
    require(tensor.range.begin == covered && tensor.range.end >= covered);
    covered = tensor.range.end;
    std::uint64_t bits = warpload::dtype_bits(tensor.dtype);
    for (const std::uint64_t dimension : tensor.shape) bits *= dimension;
    require(tensor.range.size() * 8 == bits);
  }
  require(covered == size);
}

void fuzz_header(std::string_view bytes) {
  const warpload::testing::MemorySource source(bytes);
  try {
    check_header(warpload::read_safetensors_header(source), source.size());
  } catch (const Error& error) {
    check_error(error);
  }
}

// The index is read from a path; a file in memory has one, too.
void fuzz_index(std::string_view text) {
  static const warpload::UniqueFd memory(::memfd_create("index", MFD_CLOEXEC));
  require(::ftruncate(memory.get(), 0) == 0);
  require(::pwrite(memory.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  try {
    const auto index = warpload::read_shard_index("/proc/self/fd/" + std::to_string(memory.get()));
    for (const auto& [name, shard] : index.tensor_to_shard) require(shard < index.shards.size());
    for (const auto& shard : index.shards) {
      require(shard.string().starts_with("/proc/self/fd/") && shard == shard.lexically_normal());
    }
  } catch (const Error& error) {
    check_error(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      fuzz_header(rest);
      break;
    case 1:
    case 2: {  // header and data are split at the last '}', so that mutations of both keep making sense
      const std::size_t end = std::min(rest.rfind('}'), rest.size() - 1) + 1;
      if (!rest.empty()) {
        fuzz_header(warpload::testing::safetensors_bytes(rest.substr(0, end), rest.substr(end)));
      }
      break;
    }
    default:
      fuzz_index(rest);
  }
  return 0;
}
