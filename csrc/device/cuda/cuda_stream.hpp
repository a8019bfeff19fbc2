// Streams and events of one GPU.
#pragma once

#include <memory>

#include "device/backend.hpp"
#include "device/cuda/cast_module.hpp"
#include "device/cuda/context.hpp"
#include "device/cuda/event_pool.hpp"

namespace warpload::cuda {

class CudaEvent final : public Event {
 public:
  // Records at the end of what is queued in the stream now. The context must be current.
  CudaEvent(std::shared_ptr<EventPool> events, StreamHandle stream);
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() override;

  [[nodiscard]] bool done() override;
  void synchronize() override;
  [[nodiscard]] EventHandle handle() const noexcept { return handle_; }

 private:
  std::shared_ptr<EventPool> events_;
  EventHandle handle_;
};

// Does not synchronise with the default stream by itself.
class CudaStream final : public Stream {
 public:
  CudaStream(std::shared_ptr<Context> context, std::shared_ptr<EventPool> events, std::shared_ptr<CastModule> casts);
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  ~CudaStream() override;

  void copy_to_device(std::byte* destination, std::span<const std::byte> source) override;
  void copy_to_host(std::span<std::byte> destination, const std::byte* source) override;
  void cast(DType source_dtype, const std::byte* source, DType destination_dtype, std::byte* destination,
            std::uint64_t count) override;
  [[nodiscard]] std::unique_ptr<Event> record() override;
  void check_caller(void* caller_stream) override;
  void wait_for_caller(void* caller_stream) override;
  void make_caller_wait(void* caller_stream) override;
  void synchronize() override;

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<EventPool> events_;
  std::shared_ptr<CastModule> casts_;
  StreamHandle handle_ = nullptr;
};

[[nodiscard]] inline DevicePointer device_pointer(const std::byte* address) noexcept {
  return reinterpret_cast<DevicePointer>(address);
}

}  // namespace warpload::cuda
