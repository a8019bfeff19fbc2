// snippet SHARD...: loads write_pipeline's unet and checks every byte.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <vector>
#include <warpload/warpload.hpp>

namespace {

template <typename Element>
bool holds(const warpload::Tensor& tensor, const std::vector<Element>& expected) {
  return tensor.nbytes() == expected.size() * sizeof(Element) &&
         std::memcmp(tensor.data(), expected.data(), tensor.nbytes()) == 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::filesystem::path> shards(arguments + 1, arguments + count);

  auto checkpoint = warpload::Checkpoint::open(shards);
  warpload::Loader loader({.device = warpload::Device::host(), .threads = 4});
  warpload::LoadHandle load = loader.start(checkpoint, {.dtype = warpload::DType::bf16});
  while (!load.wait_for(std::chrono::milliseconds(100))) std::cerr << load.progress().bytes_done << '\n';
  warpload::LoadResult result = load.get();
  for (const auto& [name, tensor] : result.tensors()) std::cout << name << ' ' << tensor.nbytes() << '\n';

  const warpload::TensorList tensors = result.tensors();
  const bool good = tensors.size() == 2 &&
                    holds<std::uint16_t>(tensors.at("floats"), {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0}) &&
                    holds<std::int64_t>(tensors.at("integers"), {7, -8});
  return good ? 0 : 1;
}
