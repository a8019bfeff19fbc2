// The header of a GGUF file. What the fuzzer would hardly ever guess, magic and version, is put in front of the input;
// where its first byte is 'r' the rest is a file as it is.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cpp/support/gguf_bytes.hpp"
#include "cpp/support/memory_source.hpp"
#include "format/gguf_header.hpp"
#include "fuzz/support.hpp"
#include "warpload/checkpoint.hpp"

namespace {

using warpload::GgufHeader;
using warpload::HeaderTensor;
using warpload::fuzz::accepted_or_refused;
using warpload::fuzz::require;
using warpload::fuzz::text_of;

// Whatever was accepted lies in the file, in order, and its size is that of its shape.
void check_header(const GgufHeader& header, std::uint64_t size) {
  std::uint64_t covered = header.data_begin;
  require(covered % 8 == 0);
  for (const HeaderTensor& tensor : header.tensors) {
    std::uint64_t bytes = warpload::dtype_bits(tensor.dtype) / 8;
    for (const std::uint64_t extent : tensor.shape) bytes *= extent;
    require(tensor.range.begin % 8 == 0 && tensor.range.size() == bytes);
    if (tensor.blocks) {
      require(tensor.dtype == warpload::DType::u8 && tensor.shape.back() % warpload::block_bytes(*tensor.blocks) == 0);
    }
    if (bytes == 0) continue;
    require(tensor.range.begin >= covered && tensor.range.end <= size);
    covered = tensor.range.end;
  }
}

void fuzz_file(std::string_view bytes) {
  const warpload::testing::MemorySource source(bytes);
  accepted_or_refused([&source] {
    if (warpload::is_gguf(warpload::read_start(source)))
      check_header(warpload::read_gguf_header(source), source.size());
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest = text_of(data, size).substr(1);
  if (data[0] == 'r') {
    fuzz_file(rest);
  } else {
    const std::uint32_t version = data[0] % 2 == 0 ? 3 : 2;
    fuzz_file(std::string("GGUF") + warpload::testing::gguf_number(version) + std::string(rest));
  }
  return 0;
}
