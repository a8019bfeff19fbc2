// The JSON reader: what it says of a text is what an independent reader says.
#include <cstddef>
#include <cstdint>

#include "cpp/support/json_events.hpp"
#include "fuzz/support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = warpload::fuzz::text_of(data, size);
  warpload::fuzz::require(warpload::testing::compare_with_nlohmann(text).empty());
  return 0;
}
