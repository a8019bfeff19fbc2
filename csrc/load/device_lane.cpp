#include "load/device_lane.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "load/best_rate.hpp"
#include "load/copy_stream_waits.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// Queues one slot's bytes, and the casts from the staging buffer where there are any.
void queue(Stream& stream, std::span<const std::byte> bytes, const Segment* memory, const LoadPlan& plan,
           const Batch& batch, std::byte* segment) {
  if (batch.cast_count == 0) {
    stream.copy_to_device(segment + batch.destination_offset, bytes);
    return;
  }
  std::byte* const staging = memory->data();
  // The stream's order keeps this copy behind the casts of the slot before.
  stream.copy_to_device(staging, bytes);
  for (std::size_t index = batch.first_cast; index < batch.first_cast + batch.cast_count; ++index) {
    const DeviceCast& cast = plan.casts[index];
    stream.cast(cast.source, staging + cast.slot_offset, cast.destination, segment + cast.destination_offset,
                cast.count);
  }
}

}  // namespace

DeviceLane::DeviceLane(std::shared_ptr<DeviceBackend> backend, std::shared_ptr<PinnedPool> pool,
                       std::shared_ptr<CopyChannels> channels, unsigned channel_count)
    : backend_(std::move(backend)), pool_(std::move(pool)), owner_(std::move(channels)) {
  channels_ = owner_->lease(*backend_, channel_count);
}

DeviceLane::~DeviceLane() {
  if (!come_to_rest(channels_)) return;
  pool_->landed(this);
  owner_->release(std::move(channels_));
}

std::optional<PinnedPool::Slot> DeviceLane::acquire(const std::function<bool()>& stopping) const {
  return pool_->acquire(backend_, this, stopping);
}

bool DeviceLane::ensure_staging(const StagingSource& source) {
  const std::uint64_t bytes = pool_->slot_bytes();
  const auto lacks = [](const auto& channel) { return !channel->staging; };
  const auto missing = static_cast<std::uint64_t>(std::count_if(channels_.begin(), channels_.end(), lacks));
  if (missing == 0) return false;
  const std::shared_ptr<Segment> memory = source(missing * bytes);
  std::byte* next = memory->data();
  for (const auto& channel : channels_) {
    if (channel->staging) continue;
    channel->staging = std::make_shared<AdoptedSegment>(next, bytes, memory);
    next += bytes;
  }
  return true;
}

double DeviceLane::measure_link() const {
  const auto slot = acquire([] { return false; });
  CopyChannel& channel = *channels_.front();
  return best_rate(slot->bytes().size(), [&] {
    channel.stream->copy_to_device(channel.staging->data(), slot->bytes());
    channel.stream->synchronize();
  });
}

void DeviceLane::check_caller(void* caller_stream) const { channels_.front()->stream->check_caller(caller_stream); }

void DeviceLane::wait_for_caller(void* caller_stream) { make_copies_wait(channels_, caller_stream); }

void DeviceLane::make_stream_wait(void* caller_stream) { make_caller_wait(channels_, caller_stream); }

void DeviceLane::drain() { wait_for_copies(channels_); }

void DeviceLane::send(PinnedPool::Slot slot, std::size_t lead, const LoadPlan& plan, const Batch& batch,
                      std::byte* segment) {
  CopyChannel& channel = *channels_[next_.fetch_add(1, std::memory_order_relaxed) % channels_.size()];
  std::unique_ptr<Event> event;
  {
    const std::lock_guard lock(channel.mutex);
    try {
      queue(*channel.stream, slot.bytes().subspan(lead, batch.slot_bytes), channel.staging.get(), plan, batch, segment);
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
  pool_->in_flight(std::move(slot), std::move(event), this);
}

void DeviceLane::finish() {
  drain();
  pool_->landed(this);
}

}  // namespace warpload
