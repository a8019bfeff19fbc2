#include "io/direct_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace warpload {
namespace {

// A page: what every file system takes that does not say otherwise. Smaller blocks would save nothing, as the page
// cache counts in pages too.
constexpr std::size_t kLeastBlock = 4096;

}  // namespace

DirectFile::DirectFile(int descriptor, std::uint64_t size, DirectCalls calls)
    : descriptor_(descriptor), size_(size), calls_(std::move(calls)), block_(kLeastBlock) {
  if (!calls_.open) calls_.open = [](const char* path, int flags) { return ::open(path, flags); };
  if (!calls_.pread) calls_.pread = ::pread;
}

// Nothing when the file system rules direct reads out or wants more than is supported.
std::optional<std::size_t> DirectFile::find_block() const noexcept {
#ifdef STATX_DIOALIGN
  struct statx status{};
  if (::statx(descriptor_, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0) {
    if (status.stx_dio_offset_align == 0) return std::nullopt;
    const std::size_t block = std::max<std::size_t>(status.stx_dio_offset_align, kLeastBlock);
    const bool divides = kMemoryAlignment % block == 0 && block % status.stx_dio_offset_align == 0;
    if (!divides || status.stx_dio_mem_align == 0 || kMemoryAlignment % status.stx_dio_mem_align != 0) {
      return std::nullopt;
    }
    return block;
  }
#endif
  return kLeastBlock;
}

void DirectFile::open() const {
  const std::optional<std::size_t> block = find_block();
  if (block) {
    block_ = *block;
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor_);
    int descriptor = -1;
    do {
      descriptor = calls_.open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    } while (descriptor < 0 && errno == EINTR);
    direct_ = UniqueFd(descriptor);
  }
  if (!direct_) refused_.store(true, std::memory_order_relaxed);
}

bool DirectFile::possible() const {
  std::call_once(opened_, [this] { open(); });
  return !refused_.load(std::memory_order_relaxed);
}

std::size_t DirectFile::read(std::uint64_t offset, std::span<std::byte> destination) const {
  if (!possible() || offset >= size_) return 0;
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(destination.size(), size_ - offset));
  std::size_t done = 0;
  while (done < wanted) {
    const std::span<std::byte> rest = destination.subspan(done);
    const ssize_t count = calls_.pread(direct_.get(), rest.data(), rest.size(), static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) refused_.store(true, std::memory_order_relaxed);
    if (count <= 0) break;
    done += static_cast<std::size_t>(count);
    if (done % block_ != 0) break;  // an end of the file; there is no aligned read that goes on from here
  }
  return std::min(done, wanted);  // a file that has grown gives more
}

}  // namespace warpload
