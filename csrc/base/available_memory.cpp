#include "base/available_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace warpload {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// The number behind a word, as in "MemAvailable:  123 kB" or "file 123".
std::optional<std::uint64_t> number_behind(const std::filesystem::path& path, const std::string& word) {
  std::ifstream file(path);
  for (std::string found; file >> found;) {
    std::uint64_t number = 0;
    if (found == word && file >> number) return number;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;  // "max" is none
  return std::nullopt;
}

std::uint64_t left_of_group(const std::filesystem::path& group) {
  const auto limit = number_in(group / "memory.max");
  const auto current = number_in(group / "memory.current");
  if (!limit || !current) return kUnlimited;
  const std::uint64_t cache = number_behind(group / "memory.stat", "file").value_or(0);
  const std::uint64_t used = *current - std::min(*current, cache);
  return *limit - std::min(*limit, used);
}

}  // namespace

std::uint64_t available_memory(const MemorySources& sources) {
  const std::uint64_t of_machine = number_behind(sources.machine, "MemAvailable:").value_or(0) * 1024;
  return std::min(of_machine, left_of_group(sources.group));
}

}  // namespace warpload
