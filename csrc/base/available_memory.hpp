// How much memory this process could still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace warpload {

// Where the system tells.
struct MemorySources {
  std::filesystem::path machine = "/proc/meminfo";
  std::filesystem::path group = "/sys/fs/cgroup";  // of a container, as it sees its own; version 2
};

// The bytes that can be had without pushing out what is in use: what the machine has, and of a container's limit what
// is left. The page cache counts as available, as it goes when memory is wanted. 0 where the machine does not tell.
[[nodiscard]] std::uint64_t available_memory(const MemorySources& sources = {});

}  // namespace warpload
