// The floor under every load: threads that read the weights' bytes and cast them into fresh memory, and
// nothing else.
//
//   warpload_floor FOLDER SOURCE_DTYPE DESTINATION_DTYPE THREADS [--no-touch]
//
// Dtypes are codes of the format ("F16", "BF16", "F32"). Every byte of data in every *.safetensors file below
// FOLDER counts as SOURCE_DTYPE: the few tensors of other types in real files do not matter here. The clock
// runs over the page faults of the destination too. Before it, as much memory is touched and released,
// unless --no-touch says that the caller keeps memory backed. The result goes to the standard output as one
// line of JSON.

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "convert/cast.hpp"
#include "io/file.hpp"
#include "warpload/dtype.hpp"

namespace {

using warpload::DType;

constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kPageBytes = 4096;

struct Arguments {
  std::filesystem::path folder;
  DType source = DType::f16;
  DType destination = DType::f16;
  unsigned threads = 1;
  bool touch = true;
};

struct Piece {
  const warpload::File* file = nullptr;
  std::uint64_t offset = 0;  // in the file
  std::uint64_t size = 0;    // bytes in the file, whole elements
  std::uint64_t target = 0;  // offset in the destination
};

// An anonymous mapping that asks for huge pages.
class Mapping {
 public:
  explicit Mapping(std::uint64_t size) : size_(size) {
    void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap of the destination");
    ::madvise(address, size_, MADV_HUGEPAGE);  // advice: without it the measurement stands, only slower
    begin_ = static_cast<std::byte*>(address);
  }
  ~Mapping() { ::munmap(begin_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept { return begin_ + offset; }

  // Writes to every page, then releases all of them to the kernel: their frames are then backed by the
  // host.
  void touch_and_release() const {
    for (std::uint64_t offset = 0; offset < size_; offset += kPageBytes) begin_[offset] = std::byte{1};
    if (::madvise(begin_, size_, MADV_DONTNEED) != 0) {
      throw std::system_error(errno, std::generic_category(), "madvise of the destination");
    }
  }

 private:
  std::byte* begin_ = nullptr;
  std::uint64_t size_;
};

DType parse_dtype_argument(std::string_view text) {
  const auto dtype = warpload::parse_dtype(text);
  if (!dtype || warpload::dtype_bits(*dtype) % 8 != 0) {
    throw std::invalid_argument("'" + std::string(text) + "' is not a dtype that this program takes");
  }
  return *dtype;
}

Arguments parse_arguments(int count, char** values) {
  const std::vector<std::string_view> words(values + 1, values + count);
  if (words.size() < 4 || words.size() > 5 || (words.size() == 5 && words[4] != "--no-touch")) {
    throw std::invalid_argument("usage: warpload_floor FOLDER SOURCE_DTYPE DESTINATION_DTYPE THREADS [--no-touch]");
  }
  Arguments arguments;
  arguments.folder = words[0];
  arguments.source = parse_dtype_argument(words[1]);
  arguments.destination = parse_dtype_argument(words[2]);
  const std::string_view threads = words[3];
  const auto parsed = std::from_chars(threads.data(), threads.data() + threads.size(), arguments.threads);
  if (parsed.ec != std::errc{} || parsed.ptr != threads.data() + threads.size() || arguments.threads == 0) {
    throw std::invalid_argument("'" + std::string(threads) + "' is not a number of threads");
  }
  arguments.touch = words.size() == 4;
  if (arguments.source != arguments.destination &&
      !warpload::is_cast_supported(arguments.source, arguments.destination)) {
    throw std::invalid_argument("there is no cast between these dtypes");
  }
  return arguments;
}

std::vector<std::shared_ptr<const warpload::File>> open_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  const auto options = std::filesystem::directory_options::follow_directory_symlink;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, options)) {
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  }
  if (paths.empty()) throw std::runtime_error("no *.safetensors files in " + folder.string());
  std::sort(paths.begin(), paths.end());
  std::vector<std::shared_ptr<const warpload::File>> files;
  files.reserve(paths.size());
  for (const auto& path : paths) files.push_back(warpload::File::open(path));
  return files;
}

// Where the tensors' data begin: after the length (8 bytes, little-endian) and the header of that length.
std::uint64_t data_begin(const warpload::File& file) {
  std::array<std::byte, 8> bytes{};
  file.read_exact(0, bytes);
  std::uint64_t length = 0;
  for (std::size_t index = bytes.size(); index-- > 0;)
    length = length << 8 | std::to_integer<std::uint64_t>(bytes[index]);
  return std::min(8 + length, file.size());
}

std::vector<Piece> cut(const std::vector<std::shared_ptr<const warpload::File>>& files, const Arguments& arguments) {
  const std::uint64_t source_size = warpload::dtype_bits(arguments.source) / 8;
  const std::uint64_t destination_size = warpload::dtype_bits(arguments.destination) / 8;
  std::vector<Piece> pieces;
  std::uint64_t target = 0;
  for (const auto& file : files) {
    std::uint64_t offset = data_begin(*file);
    const std::uint64_t end = file->size() - (file->size() - offset) % source_size;
    while (offset < end) {
      const std::uint64_t size = std::min(kPieceBytes, end - offset);
      pieces.push_back({file.get(), offset, size, target});
      offset += size;
      target += size / source_size * destination_size;
    }
  }
  if (pieces.empty()) throw std::runtime_error("the files hold no data");
  return pieces;
}

// Reads and casts pieces until there are none left. The first error of all threads is kept, and stops them.
class Work {
 public:
  Work(const std::vector<Piece>& pieces, const Mapping& destination, const Arguments& arguments)
      : pieces_(pieces),
        destination_(destination),
        element_size_(warpload::dtype_bits(arguments.source) / 8),
        cast_(arguments.source == arguments.destination
                  ? nullptr
                  : warpload::find_cast(arguments.source, arguments.destination)) {}

  void run(unsigned thread_count) {
    std::vector<std::jthread> threads;
    for (unsigned index = 0; index < thread_count; ++index) threads.emplace_back([this] { run_thread(); });
    threads.clear();  // joins
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run_thread() noexcept {
    try {
      std::vector<std::byte> buffer(kPieceBytes);
      for (std::size_t index = next_++; index < pieces_.size(); index = next_++) process(pieces_[index], buffer);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_ = pieces_.size();
    }
  }

  void process(const Piece& piece, std::vector<std::byte>& buffer) const {
    const std::span<std::byte> bytes(buffer.data(), piece.size);
    piece.file->read_exact(piece.offset, bytes);
    std::byte* target = destination_.at(piece.target);
    if (cast_ == nullptr) {
      std::memcpy(target, bytes.data(), bytes.size());
    } else {
      cast_(bytes.data(), target, bytes.size() / element_size_);
    }
  }

  const std::vector<Piece>& pieces_;
  const Mapping& destination_;
  std::uint64_t element_size_;
  warpload::CastFunction cast_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
};

void measure(const Arguments& arguments) {
  const auto files = open_files(arguments.folder);
  const std::vector<Piece> pieces = cut(files, arguments);
  std::uint64_t bytes_read = 0;
  for (const Piece& piece : pieces) bytes_read += piece.size;
  const std::uint64_t bytes_written =
      bytes_read / (warpload::dtype_bits(arguments.source) / 8) * (warpload::dtype_bits(arguments.destination) / 8);
  const Mapping destination(bytes_written);
  if (arguments.touch) destination.touch_and_release();

  Work work(pieces, destination, arguments);
  const auto begin = std::chrono::steady_clock::now();
  work.run(arguments.threads);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "{\"seconds\": %.6f, \"bytes_read\": %llu, \"bytes_written\": %llu, \"gigabytes_read_per_second\": "
      "%.3f, "
      "\"threads\": %u}\n",
      seconds, static_cast<unsigned long long>(bytes_read), static_cast<unsigned long long>(bytes_written),
      static_cast<double>(bytes_read) / 1e9 / seconds, arguments.threads);
}

}  // namespace

int main(int count, char** values) {
  try {
    measure(parse_arguments(count, values));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warpload_floor: %s\n", error.what());
    return 1;
  }
  return 0;
}
