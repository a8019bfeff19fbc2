// Loads the components of a pipeline folder to the host or to a GPU, in one load, and prints for each of them its size,
// how fast it came, and a checksum.
//
//     load_pipeline FOLDER [--device cpu|cuda|cuda:N] [--dtype f16|bf16|f32]
//
// The checksum is FNV-1a (64 bits) over the 64-bit little-endian words of each tensor, the last one filled up with
// zeros, in the order of the tensors' names.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>
#include <warpload/warpload.hpp>

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Arguments {
  fs::path folder;
  warpload::Device device = warpload::Device::host();
  std::optional<warpload::DType> dtype;
};

warpload::Device parse_device(const std::string& name) {
  if (name == "cpu") return warpload::Device::host();
  if (name == "cuda") return warpload::Device::cuda();
  if (name.starts_with("cuda:")) return warpload::Device::cuda(std::stoi(name.substr(5)));
  throw std::invalid_argument("no such device: " + name);
}

warpload::DType parse_dtype(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  if (const auto dtype = warpload::parse_dtype(name)) return *dtype;
  throw std::invalid_argument("no such dtype: " + name);
}

Arguments parse_arguments(int count, char** values) {
  Arguments arguments;
  for (int index = 1; index < count; ++index) {
    const std::string_view argument = values[index];
    const bool has_value = index + 1 < count;
    if (argument == "--device" && has_value) {
      arguments.device = parse_device(values[++index]);
    } else if (argument == "--dtype" && has_value) {
      arguments.dtype = parse_dtype(values[++index]);
    } else if (!argument.starts_with("--") && arguments.folder.empty()) {
      arguments.folder = argument;
    } else {
      throw std::invalid_argument("unexpected argument: " + std::string(argument));
    }
  }
  if (arguments.folder.empty()) {
    throw std::invalid_argument("usage: load_pipeline FOLDER [--device cpu|cuda|cuda:N] [--dtype f16|bf16|f32]");
  }
  return arguments;
}

// The file to open for a component: its index, else its only shard. Names of variants ("model.fp16.safetensors") are
// longer than the plain ones.
std::optional<fs::path> weights_in(const fs::path& folder) {
  std::optional<fs::path> index;
  std::optional<fs::path> shard;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const fs::path& file = entry.path();
    const bool is_index =
        warpload::Checkpoint::is_index(file) && file.filename().string().find(".safetensors") != std::string::npos;
    if (!is_index && file.extension() != ".safetensors") continue;
    auto& best = is_index ? index : shard;
    if (!best || file.string().size() < best->string().size()) best = file;
  }
  return index ? index : shard;
}

// By name; every checkpoint is validated here, before a byte of any tensor moves.
std::map<std::string, warpload::Checkpoint::Ptr> open_components(const fs::path& folder) {
  std::map<std::string, warpload::Checkpoint::Ptr> components;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.is_directory()) continue;
    const auto weights = weights_in(entry.path());
    if (weights) components.emplace(entry.path().filename().string(), warpload::Checkpoint::open(*weights));
  }
  if (components.empty()) throw std::runtime_error(folder.string() + " has no folder with safetensors files");
  return components;
}

std::uint64_t add_to_checksum(std::uint64_t checksum, const std::vector<std::byte>& bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  for (std::size_t offset = 0; offset < bytes.size(); offset += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + offset, std::min(sizeof word, bytes.size() - offset));
    checksum = (checksum ^ word) * kPrime;
  }
  return checksum;
}

std::uint64_t checksum_of(const warpload::TensorList& tensors, const warpload::Device& device) {
  const std::map<std::string, warpload::Tensor> by_name(tensors.begin(), tensors.end());
  std::uint64_t checksum = 0xcbf29ce484222325;
  for (const auto& [name, tensor] : by_name) {
    std::vector<std::byte> bytes(tensor.nbytes());
    device.read(tensor.data(), bytes.data(), bytes.size());
    checksum = add_to_checksum(checksum, bytes);
  }
  return checksum;
}

std::uint64_t bytes_of(const warpload::TensorList& tensors) {
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
  return bytes;
}

double rate(std::uint64_t bytes, Clock::duration time) {
  return static_cast<double>(bytes) / 1e9 / std::max(std::chrono::duration<double>(time).count(), 1e-9);
}

// Waits for one component after the other and returns when each was there. Each is usable while the next ones are still
// under way.
std::vector<Clock::time_point> wait_for_components(const warpload::LoadHandle& load) {
  std::vector<Clock::time_point> arrivals;
  for (std::size_t segment = 0; segment < load.segment_count(); ++segment) {
    while (!load.wait_segment_for(segment, std::chrono::seconds(1))) {
      const warpload::LoadProgress progress = load.progress();
      std::fprintf(stderr, "%.0f %%\n",
                   100.0 * static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total));
    }
    load.rethrow_if_failed();
    load.wait_arrival(segment);
    arrivals.push_back(Clock::now());
  }
  return arrivals;
}

void run(const Arguments& arguments) {
  const auto components = open_components(arguments.folder);
  const warpload::Loader loader({.device = arguments.device});

  // On the host, tensors that need no cast could stay views of their files, which costs nothing before they are used.
  // Here everything is to be read.
  std::vector<warpload::SegmentRequest> requests;
  for (const auto& [name, checkpoint] : components) {
    requests.push_back({checkpoint, {.dtype = arguments.dtype, .zero_copy = false}});
  }
  const Clock::time_point begin = Clock::now();
  const warpload::LoadHandle load = loader.start(requests);
  const std::vector<Clock::time_point> arrivals = wait_for_components(load);
  const warpload::LoadResult result = load.get();

  std::uint64_t total = 0;
  std::size_t segment = 0;
  std::printf("%-20s %8s %14s %8s  %s\n", "component", "tensors", "bytes", "GB/s", "checksum");
  for (const auto& [name, checkpoint] : components) {
    const warpload::TensorList tensors = result.tensors(segment);
    const std::uint64_t bytes = bytes_of(tensors);
    const Clock::duration time = arrivals[segment] - (segment == 0 ? begin : arrivals[segment - 1]);
    std::printf("%-20s %8zu %14" PRIu64 " %8.2f  %016" PRIx64 "\n", name.c_str(), tensors.size(), bytes,
                rate(bytes, time), checksum_of(tensors, arguments.device));
    total += bytes;
    ++segment;
  }
  const Clock::duration time = arrivals.back() - begin;
  std::printf("%" PRIu64 " bytes to %s in %.3f s with %u workers: %.2f GB/s\n", total, arguments.device.name().c_str(),
              std::chrono::duration<double>(time).count(), loader.threads(), rate(total, time));
}

}  // namespace

int main(int count, char** values) {
  try {
    run(parse_arguments(count, values));
  } catch (const std::exception& error) {  // a warpload::Error names file, tensor, byte range, reason and cure
    std::fprintf(stderr, "load_pipeline: %s\n", error.what());
    return 1;
  }
  return 0;
}
