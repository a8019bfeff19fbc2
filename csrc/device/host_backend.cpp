// The host as a device: streams that copy at once, events that are always done.
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "convert/cast.hpp"
#include "device/backend.hpp"
#include "device/host_arena.hpp"

namespace warpload {
namespace {

class HostEvent final : public Event {
 public:
  [[nodiscard]] bool done() override { return true; }
  void synchronize() override {}
};

class HostStream final : public Stream {
 public:
  void copy_to_device(std::byte* destination, std::span<const std::byte> source) override {
    std::memcpy(destination, source.data(), source.size());
  }
  void copy_to_host(std::span<std::byte> destination, const std::byte* source) override {
    std::memcpy(destination.data(), source, destination.size());
  }
  void cast(DType source_dtype, const std::byte* source, DType destination_dtype, std::byte* destination,
            std::uint64_t count) override {
    find_cast(source_dtype, destination_dtype)(source, destination, count);
  }
  [[nodiscard]] std::unique_ptr<Event> record() override { return std::make_unique<HostEvent>(); }
  void check_caller(void*) override {}
  void wait_for_caller(void*) override {}
  void make_caller_wait(void*) override {}
  void synchronize() override {}
};

class HostBackend final : public DeviceBackend {
 public:
  [[nodiscard]] DeviceId id() const noexcept override { return {}; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  void open() override {}
  [[nodiscard]] DeviceMemoryInfo memory_info() override {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return {static_cast<std::uint64_t>(::sysconf(_SC_AVPHYS_PAGES)) * page,
            static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page};
  }
  [[nodiscard]] std::vector<std::shared_ptr<Segment>> allocate(std::span<const std::uint64_t> segment_bytes) override {
    return reserve_host_arena(segment_bytes);
  }
  [[nodiscard]] std::unique_ptr<Stream> create_stream() override { return std::make_unique<HostStream>(); }
  void pin(std::span<std::byte>) override {}
  void unpin(std::span<std::byte>) noexcept override {}
  [[nodiscard]] const void* pinning_domain() const noexcept override { return nullptr; }
  [[nodiscard]] bool can_cast(DType source, DType destination) override {
    return is_cast_supported(source, destination);
  }

 private:
  std::string name_ = "cpu";
};

}  // namespace

std::shared_ptr<DeviceBackend> make_host_backend() { return std::make_shared<HostBackend>(); }

}  // namespace warpload
