// Other kinds of file that often carry a checkpoint's name by accident.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace warpload {

struct ForeignFile {
  std::string reason;
  std::string cure;
};

// How many of a file's first bytes recognize_foreign_file wants to see.
inline constexpr std::size_t kForeignPrefixBytes = 64;

inline constexpr const char* kDownloadAgain = "download the file again";

// Says what a file that starts with `prefix` is, if it is one of the usual suspects. A valid safetensors file
// can start with the same bytes (a header of 640 bytes starts as a pickle does), so ask only about a file
// that is already known to be wrong.
[[nodiscard]] inline std::optional<ForeignFile> recognize_foreign_file(std::string_view prefix) {
  using namespace std::string_view_literals;
  if (prefix.starts_with("version https://git-lfs.github.com/spec/"sv)) {
    return ForeignFile{"the file is a git-lfs pointer, not the data itself", "run `git lfs pull` in the repository"};
  }
  if (prefix.starts_with("PK\x03\x04"sv)) {
    return ForeignFile{"the file is a zip archive, probably a torch checkpoint",
                       "write it as safetensors by `warpload convert`, or load it with torch.load"};
  }
  if (prefix.size() >= 2 && prefix[0] == '\x80' && prefix[1] >= '\x02' && prefix[1] <= '\x05') {
    return ForeignFile{"the file is a Python pickle, probably an old torch checkpoint",
                       "write it as safetensors by `warpload convert`, or load it with torch.load"};
  }
  // The length of a safetensors header has zeros among its eight bytes; text has none.
  const bool is_text = prefix.substr(0, 8).find('\0') == std::string_view::npos;
  if (is_text && prefix.starts_with('<')) {
    return ForeignFile{"the file looks like a downloaded HTML or XML page", "check the address and download it again"};
  }
  if (is_text && prefix.starts_with('{')) {
    return ForeignFile{"the file is JSON text, perhaps a server's error message that was downloaded",
                       "check the address and download it again"};
  }
  return std::nullopt;
}

}  // namespace warpload
