#include "load/device_lane.hpp"

#include <exception>
#include <utility>

#include "warpload/error.hpp"

namespace warpload {
namespace {

// Queues one slot's bytes, and the casts from the staging buffer where there are any.
void queue(Stream& stream, std::span<const std::byte> bytes, std::byte* staging, const LoadPlan& plan,
           const Batch& batch, std::byte* segment) {
  if (batch.cast_count == 0) {
    stream.copy_to_device(segment + batch.destination_offset, bytes);
    return;
  }
  // The stream's order keeps this copy behind the casts of the slot before.
  stream.copy_to_device(staging, bytes);
  for (std::size_t index = batch.first_cast; index < batch.first_cast + batch.cast_count; ++index) {
    const DeviceCast& cast = plan.casts[index];
    stream.cast(cast.source, staging + cast.slot_offset, cast.destination, segment + cast.destination_offset,
                cast.count);
  }
}

}  // namespace

DeviceLane::DeviceLane(std::shared_ptr<DeviceBackend> backend, std::shared_ptr<PinnedPool> pool, unsigned stream_count,
                       std::shared_ptr<Segment> staging)
    : backend_(std::move(backend)), pool_(std::move(pool)), staging_(std::move(staging)) {
  for (unsigned index = 0; index < stream_count; ++index) {
    auto channel = std::make_unique<Channel>();
    channel->stream = backend_->create_stream();
    if (staging_) channel->staging = staging_->data() + index * pool_->slot_bytes();
    channels_.push_back(std::move(channel));
  }
}

DeviceLane::~DeviceLane() {
  for (const auto& channel : channels_) {
    try {
      channel->stream->synchronize();
    } catch (const Error&) {  // the device is lost: nothing copies any more
    }
  }
}

void DeviceLane::wait_for_caller(void* caller_stream) {
  for (const auto& channel : channels_) channel->stream->wait_for_caller(caller_stream);
}

void DeviceLane::send(PinnedPool::Slot slot, std::size_t lead, const LoadPlan& plan, const Batch& batch,
                      std::byte* segment) {
  Channel& channel = *channels_[next_.fetch_add(1, std::memory_order_relaxed) % channels_.size()];
  std::unique_ptr<Event> event;
  {
    const std::lock_guard lock(channel.mutex);
    try {
      queue(*channel.stream, slot.bytes().subspan(lead, batch.slot_bytes), channel.staging, plan, batch, segment);
      event = channel.stream->record();
    } catch (...) {
      const std::exception_ptr first = std::current_exception();
      try {
        channel.stream->synchronize();  // a copy may have been queued that reads the slot
      } catch (const Error&) {          // the first error tells more
      }
      std::rethrow_exception(first);
    }
  }
  pool_->in_flight(std::move(slot), std::move(event));
}

void DeviceLane::make_stream_wait(void* caller_stream) {
  for (const auto& channel : channels_) {
    const std::lock_guard lock(channel->mutex);
    channel->stream->make_caller_wait(caller_stream);
  }
}

void DeviceLane::drain() {
  std::exception_ptr first;
  for (const auto& channel : channels_) {
    try {
      std::unique_ptr<Event> event;
      {
        const std::lock_guard lock(channel->mutex);
        event = channel->stream->record();
      }
      event->synchronize();  // an event's wait sleeps where a stream's may spin
    } catch (const Error&) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace warpload
