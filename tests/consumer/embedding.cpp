// A shared object that embeds the static library, as an engine's plugin would; what it exports is looked at. So it does
// what leaves symbols in its own objects: catches errors, derives, has the standard's templates of our types.
#include <iostream>
#include <map>
#include <string>
#include <vector>
#include <warpload/warpload.hpp>

extern "C" __attribute__((visibility("default"))) unsigned long long count_bytes(const char* file);

namespace {

class OutOfWeights final : public warpload::Error {
 public:
  OutOfWeights() : Error(warpload::ErrorCode::kFormat, {.reason = "no tensors"}) {}
};

std::vector<warpload::Tensor> load(const char* file) {
  const warpload::Loader loader;
  std::map<std::string, warpload::Tensor> by_name;
  for (const auto& [name, tensor] : loader.start(warpload::Checkpoint::open(file)).get().tensors()) {
    by_name.emplace(name, tensor);
  }
  if (by_name.empty()) throw OutOfWeights();
  std::vector<warpload::Tensor> tensors;
  for (const auto& [name, tensor] : by_name) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

unsigned long long count_bytes(const char* file) {
  unsigned long long bytes = 0;
  try {
    for (const warpload::Tensor& tensor : load(file)) bytes += tensor.nbytes();
  } catch (const warpload::FormatError& error) {
    std::cerr << error.path() << ": " << error.reason() << '\n';
  } catch (const warpload::Error& error) {
    std::cerr << error.what() << '\n';
  }
  return bytes;
}
