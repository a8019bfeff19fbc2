// What the disk gives: threads that read whole files in blocks and discard the bytes. Loads of files that are not in
// the page cache are held against it.
//
//   warpload_disk_ceiling FILE... [--threads N] [--block BYTES] [--direct|--buffered]
//
// By default 4 threads read blocks of 1 MiB with O_DIRECT, past the page cache. --buffered reads through it: then the
// caller must have evicted the files from it, or memory is measured. The result goes to the standard output as one line
// of JSON.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace {

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Arguments {
  std::vector<std::string> files;
  unsigned threads = 4;
  std::size_t block = std::size_t{1} << 20;
  bool direct = true;
};

struct Block {
  int descriptor = -1;
  std::uint64_t offset = 0;
};

template <class Number>
Number parse_number(const std::string& text) {
  Number value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || value == 0) {
    throw std::invalid_argument("'" + text + "' is not a positive number");
  }
  return value;
}

Arguments parse_arguments(int count, char** values) {
  Arguments arguments;
  for (int index = 1; index < count; ++index) {
    const std::string_view word = values[index];
    if (word == "--direct" || word == "--buffered") {
      arguments.direct = word == "--direct";
    } else if ((word == "--threads" || word == "--block") && index + 1 < count) {
      const std::string value = values[++index];
      if (word == "--threads") arguments.threads = parse_number<unsigned>(value);
      if (word == "--block") arguments.block = parse_number<std::size_t>(value);
    } else if (word.starts_with("--")) {
      throw std::invalid_argument("unknown or incomplete option '" + std::string(word) + "'");
    } else {
      arguments.files.emplace_back(word);
    }
  }
  if (arguments.files.empty() || arguments.block % kAlignment != 0) {
    throw std::invalid_argument(
        "usage: warpload_disk_ceiling FILE... [--threads N] [--block BYTES] [--direct|--buffered]; BYTES is a multiple "
        "of 4096");
  }
  return arguments;
}

std::system_error system_error(const std::string& what) {
  return std::system_error(errno, std::generic_category(), what);
}

// Reads blocks until there are none left. The first error of all threads is kept, and stops them.
class Work {
 public:
  explicit Work(const Arguments& arguments) : block_bytes_(arguments.block) {
    for (const std::string& path : arguments.files) {
      warpload::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (arguments.direct ? O_DIRECT : 0)));
      struct stat status{};
      if (!fd || ::fstat(fd.get(), &status) != 0) throw system_error(path);
      const auto size = static_cast<std::uint64_t>(status.st_size);
      for (std::uint64_t offset = 0; offset < size; offset += block_bytes_) blocks_.push_back({fd.get(), offset});
      bytes_expected_ += size;
      descriptors_.push_back(std::move(fd));
    }
  }

  // Returns the bytes read.
  std::uint64_t run(unsigned thread_count) {
    std::vector<std::jthread> threads;
    for (unsigned index = 0; index < thread_count; ++index) threads.emplace_back([this] { run_thread(); });
    threads.clear();  // joins
    if (error_) std::rethrow_exception(error_);
    if (bytes_read_ != bytes_expected_) throw std::runtime_error("a file changed its size or was read short");
    return bytes_read_;
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  void run_thread() noexcept {
    try {
      // In huge pages: in small ones a request of the disk is full before it is large, and the ceiling too low.
      const std::size_t buffer_bytes = (block_bytes_ + kHugePage - 1) / kHugePage * kHugePage;
      const std::unique_ptr<std::byte, Free> buffer(
          static_cast<std::byte*>(std::aligned_alloc(kHugePage, buffer_bytes)));
      if (!buffer) throw std::bad_alloc();
      ::madvise(buffer.get(), buffer_bytes, MADV_HUGEPAGE);
      for (std::size_t index = next_++; index < blocks_.size(); index = next_++) {
        const Block& block = blocks_[index];
        const ssize_t count = ::pread(block.descriptor, buffer.get(), block_bytes_, static_cast<off_t>(block.offset));
        if (count < 0) throw system_error("read");
        bytes_read_ += static_cast<std::uint64_t>(count);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_ = blocks_.size();
    }
  }

  std::size_t block_bytes_;
  std::vector<warpload::UniqueFd> descriptors_;
  std::vector<Block> blocks_;
  std::uint64_t bytes_expected_ = 0;
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
};

void measure(const Arguments& arguments) {
  Work work(arguments);
  const auto begin = std::chrono::steady_clock::now();
  const std::uint64_t bytes = work.run(arguments.threads);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("{\"bytes\": %llu, \"seconds\": %.6f, \"gbps\": %.3f}\n", static_cast<unsigned long long>(bytes), seconds,
              static_cast<double>(bytes) / 1e9 / seconds);
}

}  // namespace

int main(int count, char** values) {
  try {
    measure(parse_arguments(count, values));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warpload_disk_ceiling: %s\n", error.what());
    return 1;
  }
  return 0;
}
