// A GPU, by the driver's interface.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/process_owned.hpp"
#include "device/backend.hpp"
#include "device/cuda/cast_module.hpp"
#include "device/cuda/context.hpp"
#include "device/cuda/cuda_stream.hpp"
#include "device/cuda/event_pool.hpp"
#include "warpload/error.hpp"

namespace warpload::cuda {
namespace {

class CudaSegment final : public Segment {
 public:
  CudaSegment(std::shared_ptr<Context> context, std::byte* begin, std::uint64_t bytes) noexcept
      : Segment(begin, bytes), context_(std::move(context)) {}
  ~CudaSegment() override {
    clean_up(*context_, [&](const Driver& driver) { return driver.cuMemFree_v2(device_pointer(data())); });
  }

 private:
  std::shared_ptr<Context> context_;
};

class CudaThreadScope final : public ThreadScope {
 public:
  explicit CudaThreadScope(std::shared_ptr<Context> context) noexcept
      : context_(std::move(context)), beside_(context_->driver()) {}

 private:
  std::shared_ptr<Context> context_;
  BesideCaptures beside_;
};

class CudaBackend final : public DeviceBackend {
 public:
  CudaBackend(std::shared_ptr<const Driver> driver, int ordinal)
      : context_(std::make_shared<Context>(std::move(driver), ordinal)),
        events_(std::make_shared<EventPool>(context_)),
        casts_(std::make_shared<CastModule>(context_)) {}

  [[nodiscard]] DeviceId id() const noexcept override { return {DeviceKind::kCuda, context_->ordinal()}; }
  [[nodiscard]] const std::string& name() const noexcept override { return context_->name(); }
  void open() override { static_cast<void>(context_->handle()); }

  [[nodiscard]] DeviceMemoryInfo memory_info() override {
    const CurrentContext current(*context_);
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    WARPLOAD_CUDA(*context_, cuMemGetInfo_v2, &free_bytes, &total_bytes);
    return {free_bytes, total_bytes};
  }

  [[nodiscard]] std::vector<std::shared_ptr<Segment>> allocate(std::span<const std::uint64_t> segment_bytes) override {
    check_room(segment_bytes);
    const CurrentContext current(*context_);
    std::vector<std::shared_ptr<Segment>> segments;
    for (const std::uint64_t bytes : segment_bytes) {
      segments.push_back(bytes == 0 ? nullptr : allocate_one(bytes));
    }
    return segments;
  }

  [[nodiscard]] std::unique_ptr<ThreadScope> beside_captures() override {
    return std::make_unique<CudaThreadScope>(context_);
  }

  [[nodiscard]] std::unique_ptr<Stream> create_stream() override {
    return std::make_unique<CudaStream>(context_, events_, casts_);
  }

  void pin(std::span<std::byte> memory) override {
    const CurrentContext current(*context_);
    WARPLOAD_CUDA(*context_, cuMemHostRegister_v2, memory.data(), memory.size(), kHostRegisterPortable);
  }

  void unpin(std::span<std::byte> memory) noexcept override {
    clean_up(*context_, [&](const Driver& driver) { return driver.cuMemHostUnregister(memory.data()); });
  }

  // Portable registration: pinned for every GPU of the driver.
  [[nodiscard]] const void* pinning_domain() const noexcept override {
    return reinterpret_cast<const void*>(context_->driver().cuMemHostRegister_v2);
  }

  [[nodiscard]] bool can_cast(DType source, DType destination) override {
    return casts_->find(source, destination) != nullptr;
  }

 private:
  void check_room(std::span<const std::uint64_t> segment_bytes) {
    std::uint64_t total = 0;
    for (const std::uint64_t bytes : segment_bytes) {
      if (__builtin_add_overflow(total, bytes, &total)) total = UINT64_MAX;
    }
    const DeviceMemoryInfo info = memory_info();
    if (total <= info.free_bytes) return;
    throw OutOfMemoryError({.reason = context_->name() + ": an arena of " + std::to_string(total) +
                                      " bytes does not fit; " + std::to_string(info.free_bytes) + " of " +
                                      std::to_string(info.total_bytes) + " bytes are free",
                            .cure = "load fewer components at once, or in a smaller dtype"});
  }

  [[nodiscard]] std::shared_ptr<Segment> allocate_one(std::uint64_t bytes) {
    DevicePointer pointer = 0;
    WARPLOAD_CUDA(*context_, cuMemAlloc_v2, &pointer, static_cast<std::size_t>(bytes));
    auto* const begin = reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(pointer));
    try {
      return std::make_shared<CudaSegment>(context_, begin, bytes);
    } catch (...) {
      static_cast<void>(context_->driver().cuMemFree_v2(pointer));
      throw;
    }
  }

  std::shared_ptr<Context> context_;
  std::shared_ptr<EventPool> events_;
  std::shared_ptr<CastModule> casts_;
};

}  // namespace
}  // namespace warpload::cuda

namespace warpload {

std::shared_ptr<DeviceBackend> make_cuda_backend(int ordinal, const std::string& library) {
  return owned_by_this_process(new cuda::CudaBackend(cuda::Driver::open(library), ordinal));
}

}  // namespace warpload
