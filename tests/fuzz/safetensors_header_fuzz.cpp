// The header of a safetensors file. The first byte of the input says whether the rest is a file as it is ('r'), or a
// header whose length, which the fuzzer would hardly ever guess, has to be put in front.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "format/safetensors_header.hpp"
#include "fuzz/support.hpp"

namespace {

using warpload::HeaderTensor;
using warpload::SafetensorsHeader;
using warpload::fuzz::accepted_or_refused;
using warpload::fuzz::require;
using warpload::fuzz::text_of;

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
  accepted_or_refused([&source] { check_header(warpload::read_safetensors_header(source), source.size()); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest = text_of(data, size).substr(1);
  if (data[0] == 'r') {
    fuzz_header(rest);
  } else if (!rest.empty()) {  // header and data are split at the last '}', so that mutations of both keep making sense
    const std::size_t end = std::min(rest.rfind('}'), rest.size() - 1) + 1;
    fuzz_header(warpload::testing::safetensors_bytes(rest.substr(0, end), rest.substr(end)));
  }
  return 0;
}
