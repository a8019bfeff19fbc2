#include "warpload/device.hpp"

#include "device/backend.hpp"

namespace warpload {

Device Device::host() { return {make_host_backend(), false}; }

Device Device::host_through_slots() { return {make_host_backend(), true}; }

Device Device::cuda(int ordinal, const std::string& library) { return {make_cuda_backend(ordinal, library), true}; }

DeviceId Device::id() const noexcept { return backend_->id(); }
const std::string& Device::name() const noexcept { return backend_->name(); }
DeviceMemoryInfo Device::memory() const { return backend_->memory_info(); }

void Device::read(const std::byte* source, std::byte* destination, std::uint64_t bytes) const {
  if (bytes == 0) return;
  const auto stream = backend_->create_stream();
  stream->copy_to_host({destination, static_cast<std::size_t>(bytes)}, source);
  stream->synchronize();
}

}  // namespace warpload
