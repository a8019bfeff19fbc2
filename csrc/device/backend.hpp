// The interface between the loader and a device: what a load needs of one, and no more.
//
// Two backends: the host, whose streams copy at once, and CUDA by its driver. The loader cannot tell them apart, so its
// tests run on both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/segment.hpp"
#include "warpload/device.hpp"
#include "warpload/dtype.hpp"

namespace warpload {

// A point in a stream's work. Threads: any.
class Event {
 public:
  virtual ~Event() = default;
  // True once everything that was queued before it has been done. Throws DeviceError.
  [[nodiscard]] virtual bool done() = 0;
  // Waits until everything that was queued before it has been done, without spinning. Throws DeviceError.
  virtual void synchronize() = 0;
};

// Work of a device in order. Threads: one at a time, but for synchronize, which may run beside the others. All members
// but the destructor throw DeviceError.
class Stream {
 public:
  // What has been queued is still done; nobody waits for it.
  virtual ~Stream() = default;

  // Queues a copy. The source must stay as it is until an event recorded afterwards is done.
  virtual void copy_to_device(std::byte* destination, std::span<const std::byte> source) = 0;
  virtual void copy_to_host(std::span<std::byte> destination, const std::byte* source) = 0;

  // Queues a cast of `count` elements within the device's memory, bit-identical to find_cast's. Both addresses are
  // multiples of 256. Only where DeviceBackend::can_cast.
  virtual void cast(DType source_dtype, const std::byte* source, DType destination_dtype, std::byte* destination,
                    std::uint64_t count) = 0;

  [[nodiscard]] virtual std::unique_ptr<Event> record() = 0;

  // Throws, and queues nothing, what the two functions below would throw for such a stream: InvalidArgumentError where
  // it is being captured into a graph, so that nothing can wait for it.
  virtual void check_caller(void* caller_stream) = 0;
  // Has work that is queued here from now on begin after all that is queued in the caller's stream: the device's own
  // handle, null for its default stream. Throws InvalidArgumentError, before anything is queued, as check_caller does.
  virtual void wait_for_caller(void* caller_stream) = 0;
  // Has work that is queued in the caller's stream from now on begin after all that is queued here. Throws
  // InvalidArgumentError, before anything is queued, as check_caller does.
  virtual void make_caller_wait(void* caller_stream) = 0;

  // Waits until all that is queued here has been done.
  virtual void synchronize() = 0;
};

// Something that holds for the calling thread until it is destroyed, on that thread.
class ThreadScope {
 public:
  virtual ~ThreadScope() = default;
};

// One device. Threads: every member may be called from any thread.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  [[nodiscard]] virtual DeviceId id() const noexcept = 0;
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;

  // Does now what would else be done when the device is first used. Throws DeviceError.
  virtual void open() = 0;

  // Throws DeviceError.
  [[nodiscard]] virtual DeviceMemoryInfo memory_info() = 0;

  // A caller of the device's own driver (another library's allocator) disturbs no graph that another thread
  // captures as long as the scope lives; the members here see to that themselves. Null where nothing can be disturbed.
  [[nodiscard]] virtual std::unique_ptr<ThreadScope> beside_captures() { return nullptr; }

  // Allocates all segments or none; a size of 0 gives a null pointer. Throws OutOfMemoryError with the sizes (checked
  // against the free memory before anything is allocated), DeviceError.
  [[nodiscard]] virtual std::vector<std::shared_ptr<Segment>> allocate(
      std::span<const std::uint64_t> segment_bytes) = 0;

  [[nodiscard]] virtual std::unique_ptr<Stream> create_stream() = 0;

  // Page-locks host memory, so that copies from it are asynchronous and fast, for every device of the same pinning
  // domain. Throws DeviceError or OutOfMemoryError and leaves no trace.
  virtual void pin(std::span<std::byte> memory) = 0;
  virtual void unpin(std::span<std::byte> memory) noexcept = 0;
  [[nodiscard]] virtual const void* pinning_domain() const noexcept = 0;

  // Whether streams of this device cast between the two dtypes. Throws DeviceError.
  [[nodiscard]] virtual bool can_cast(DType source, DType destination) = 0;
};

// Each call makes a backend of its own.
[[nodiscard]] std::shared_ptr<DeviceBackend> make_host_backend();
[[nodiscard]] std::shared_ptr<DeviceBackend> make_cuda_backend(int ordinal, const std::string& library);

}  // namespace warpload
