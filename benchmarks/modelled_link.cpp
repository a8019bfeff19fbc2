// The share of a link's rate that loads of whole pipelines reach, without a GPU: files in the page cache go through the
// real loader, its workers and its slots to a driver whose link, calls and pinning cost modelled time (FakeModel).
//
//   warpload_modelled_link FOLDER [--link-gbps 8] [--threads N] [--slot-mib N] [--ring-mib N] [--streams N]
//                          [--copy-gap-us T] [--call-us T] [--query-us T] [--allocation-us T] [--pin-us-per-mib T]
//                          [--gpu] [--json]
//
// FOLDER is a pipeline's, with *.safetensors in one folder a component. Two cores that feed 8 GB/s stand for sixteen
// that feed a link of 53: costs in microseconds are those of such a machine, and are stretched by 53 / link-gbps here.
// --gpu loads to the real device 0 instead, and what is modelled is then left out of the result.

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "fakes/fake_cuda.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/loader.hpp"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;
using Seconds = std::chrono::duration<double>;
using Components = std::map<fs::path, std::vector<fs::path>>;  // weight files by their folder

constexpr double kModelledMachineGbps = 53;  // whose costs the options are given in

struct Arguments {
  std::string folder;
  std::map<std::string, double, std::less<>> numbers = {
      {"--link-gbps", 8},       {"--threads", 0},         {"--slot-mib", 0},  {"--ring-mib", 0},
      {"--streams", 0},         {"--copy-gap-us", 1},     {"--call-us", 1.5}, {"--query-us", 1.5},
      {"--allocation-us", 300}, {"--pin-us-per-mib", 200}};
  bool gpu = false;
  bool json = false;

  [[nodiscard]] double number(std::string_view name) const { return numbers.find(name)->second; }
};

double parse_number(const std::string& text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || !(value >= 0)) {
    throw std::invalid_argument("'" + text + "' is not a number of at least 0");
  }
  return value;
}

Arguments parse_arguments(int count, char** values) {
  Arguments arguments;
  for (int index = 1; index < count; ++index) {
    const std::string word = values[index];
    if (const auto found = arguments.numbers.find(word); found != arguments.numbers.end() && index + 1 < count) {
      found->second = parse_number(values[++index]);
    } else if (word == "--gpu" || word == "--json") {
      (word == "--gpu" ? arguments.gpu : arguments.json) = true;
    } else if (word.starts_with("--") || !arguments.folder.empty()) {
      throw std::invalid_argument("unknown or incomplete option '" + word + "'");
    } else {
      arguments.folder = word;
    }
  }
  if (arguments.folder.empty() || arguments.number("--link-gbps") == 0) {
    throw std::invalid_argument("usage: warpload_modelled_link FOLDER [--link-gbps N] [--json] ...; see the source");
  }
  return arguments;
}

Components find_components(const fs::path& folder) {
  Components components;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") components[entry.path().parent_path()].push_back(entry.path());
  }
  if (components.empty()) throw std::invalid_argument(folder.string() + " has no *.safetensors");
  for (auto& [component, files] : components) std::sort(files.begin(), files.end());
  return components;
}

// Files that are in the page cache, and stay there until the process ends: some kernels write off idle pages within
// seconds. Returns whether they could be locked there.
bool hold_in_page_cache(const Components& components) {
  bool held = true;
  for (const auto& [component, files] : components) {
    for (const fs::path& path : files) {
      const warpload::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const auto size = static_cast<std::size_t>(fs::file_size(path));
      void* const mapping = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, file.get(), 0);
      if (mapping == MAP_FAILED) throw std::runtime_error("cannot map " + path.string());
      held = ::mlock(mapping, size) == 0 && held;
    }
  }
  return held;
}

warpload::testing::FakeOptions fake_options(const Arguments& arguments) {
  const double stretch = kModelledMachineGbps / arguments.number("--link-gbps");
  const auto cost = [&](std::string_view name) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Microseconds(arguments.number(name) * stretch));
  };
  warpload::testing::FakeOptions options;
  options.devices = 1;
  options.device_bytes = std::uint64_t{80} << 30;
  options.model = warpload::testing::FakeModel{.link_gbps = arguments.number("--link-gbps"),
                                               .copy_gap = cost("--copy-gap-us"),
                                               .call = cost("--call-us"),
                                               .event_query = cost("--query-us"),
                                               .allocation = cost("--allocation-us"),
                                               .pinning_per_mib = cost("--pin-us-per-mib")};
  return options;
}

warpload::LoaderOptions loader_options(const Arguments& arguments) {
  warpload::LoaderOptions options;
  const auto set = [&](std::string_view name, auto& value, std::uint64_t unit) {
    using Value = std::remove_reference_t<decltype(value)>;
    if (arguments.number(name) > 0) value = static_cast<Value>(arguments.number(name) * static_cast<double>(unit));
  };
  set("--threads", options.threads, 1);
  set("--slot-mib", options.slot_bytes, std::uint64_t{1} << 20);
  set("--ring-mib", options.pinned_bytes, std::uint64_t{1} << 20);
  set("--streams", options.copy_streams, 1);
  return options;
}

struct Measured {
  std::uint64_t bytes = 0;
  Seconds total{0};
  Seconds opening{0};   // until the files' headers were read
  Seconds starting{0};  // from there until the arena was there
  Seconds ramp{0};      // until the first copy began
  Seconds drain{0};     // from the last copy's being queued to the end
  warpload::LoadTimes workers = {};
  warpload::testing::FakeLink link = {};
};

Measured load(const warpload::Loader& loader, const warpload::Device& device, const Components& components) {
  static_cast<void>(warpload::testing::take_link());
  const auto begin = Clock::now();
  std::vector<warpload::SegmentRequest> requests;
  for (const auto& [component, files] : components) {
    requests.push_back({warpload::Checkpoint::open(files), {.device = device}});
  }
  const auto opened = Clock::now();
  const warpload::LoadHandle handle = loader.start(requests);
  const auto started = Clock::now();
  for (std::size_t segment = 0; segment < requests.size(); ++segment) {
    while (!handle.wait_segment_for(segment, std::chrono::seconds(60))) {
    }
  }
  const auto queued = Clock::now();
  const warpload::LoadResult result = handle.get();
  const auto end = Clock::now();
  Measured measured{.bytes = handle.progress().bytes_total, .total = end - begin, .drain = end - queued};
  measured.opening = opened - begin;
  measured.starting = started - opened;
  measured.workers = handle.times();
  measured.link = warpload::testing::take_link();
  measured.ramp = measured.link.begin - begin;
  return measured;
}

void print_json(const char* name, const Measured& measured, const Arguments& arguments, unsigned threads) {
  const double gbps = static_cast<double>(measured.bytes) / 1e9 / measured.total.count();
  const auto each = [threads](std::chrono::nanoseconds sum) { return Seconds(sum).count() / threads; };
  std::printf("\"%s\": {\"seconds\": %.6f, \"gbps\": %.4f", name, measured.total.count(), gbps);
  std::printf(", \"opening\": %.6f, \"starting\": %.6f", measured.opening.count(), measured.starting.count());
  std::printf(", \"waiting_for_slots\": %.6f, \"reading\": %.6f, \"waiting_for_arena\": %.6f, \"sending\": %.6f",
              each(measured.workers.waiting_for_slots), each(measured.workers.reading),
              each(measured.workers.waiting_for_arena), each(measured.workers.sending));
  std::printf(", \"drain\": %.6f", measured.drain.count());
  if (!arguments.gpu) {
    const Seconds idle = measured.link.end - measured.link.begin - measured.link.busy;
    std::printf(", \"share\": %.4f, \"ramp\": %.6f, \"pinning\": %.6f, \"link_idle\": %.6f",
                gbps / arguments.number("--link-gbps"), measured.ramp.count(), Seconds(measured.link.pinning).count(),
                idle.count());
  }
  std::printf("}");
}

struct Result {
  Measured first;
  Measured again;
  std::size_t components;
  bool files_held;
  unsigned threads;
  std::uint64_t ring_bytes;
};

void print_json(const Result& result, const Arguments& arguments) {
  std::printf("{\"bytes\": %llu, \"components\": %zu, \"files_held\": %s, \"threads\": %u, \"ring_bytes\": %llu, ",
              static_cast<unsigned long long>(result.first.bytes), result.components,
              result.files_held ? "true" : "false", result.threads, static_cast<unsigned long long>(result.ring_bytes));
  if (!arguments.gpu) {
    const char* separator = "\"model\": {";
    for (const char* name :
         {"--link-gbps", "--copy-gap-us", "--call-us", "--query-us", "--allocation-us", "--pin-us-per-mib"}) {
      std::printf("%s\"%s\": %g", std::exchange(separator, ", "), name + 2, arguments.number(name));
    }
    std::printf("}, ");
  }
  print_json("first", result.first, arguments, result.threads);
  std::printf(", ");
  print_json("again", result.again, arguments, result.threads);
  std::printf("}\n");
}

void print_words(const char* name, const Measured& measured, const Arguments& arguments) {
  const double gbps = static_cast<double>(measured.bytes) / 1e9 / measured.total.count();
  std::printf("%s: %.3f s, %.2f GB/s", name, measured.total.count(), gbps);
  if (!arguments.gpu) std::printf(", %.1f %% of the link", 100 * gbps / arguments.number("--link-gbps"));
  std::printf("\n");
}

void measure(const Arguments& arguments) {
  const auto components = find_components(arguments.folder);
  const bool held = hold_in_page_cache(components);
  if (!arguments.gpu) warpload::testing::reset(fake_options(arguments));
  const warpload::Device device =
      arguments.gpu ? warpload::Device::cuda(0) : warpload::Device::cuda(0, WARPLOAD_FAKE_CUDA_LIBRARY);
  static_cast<void>(device.memory());  // the context is there before the clock, as where torch has used the device
  const warpload::Loader loader(loader_options(arguments));
  const Measured first = load(loader, device, components);
  const std::uint64_t ring = loader.pinned_bytes();
  const Measured again = load(loader, device, components);
  const Result result{first, again, components.size(), held, loader.threads(), std::max(ring, loader.pinned_bytes())};
  if (arguments.json) {
    print_json(result, arguments);
  } else {
    print_words("first load", first, arguments);
    print_words("second load", again, arguments);
  }
}

}  // namespace

int main(int count, char** values) {
  try {
    measure(parse_arguments(count, values));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warpload_modelled_link: %s\n", error.what());
    return 1;
  }
  return 0;
}
