// Regular files, opened once and read by position.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "io/direct_file.hpp"
#include "io/residency.hpp"
#include "warpload/byte_source.hpp"

namespace warpload {

class File final : public ByteSource {
 public:
  // Opens `path` for reading. Throws IoError (errno kept) when it is missing, unreadable, a directory or anything
  // but a regular file; a FIFO is refused at once, never waited for. `calls` are those of direct().
  [[nodiscard]] static std::shared_ptr<const File> open(const std::filesystem::path& path, DirectCalls calls = {});

  [[nodiscard]] const std::string& path() const noexcept override { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  void read_exact(std::uint64_t offset, std::span<std::byte> destination) const override;

  // Valid as long as this object.
  [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

  // What of this file is in the page cache, and the way past it. Valid as long as this object; neither costs a system
  // call before it is first used.
  [[nodiscard]] const Residency& residency() const noexcept { return residency_; }
  [[nodiscard]] const DirectFile& direct() const noexcept { return direct_; }

 private:
  File(UniqueFd fd, std::string path, std::uint64_t size, DirectCalls calls);

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_;
  Residency residency_;
  DirectFile direct_;
};

}  // namespace warpload
