#include "load/copy_stream_waits.hpp"

#include <exception>
#include <memory>
#include <mutex>

#include "warpload/error.hpp"

namespace warpload {

void make_copies_wait(const CopyChannelList& channels, void* caller_stream) {
  for (const auto& channel : channels) {
    const std::lock_guard lock(channel->mutex);
    channel->stream->wait_for_caller(caller_stream);
  }
}

void make_caller_wait(const CopyChannelList& channels, void* caller_stream) {
  for (const auto& channel : channels) {
    const std::lock_guard lock(channel->mutex);
    channel->stream->make_caller_wait(caller_stream);
  }
}

void wait_for_copies(const CopyChannelList& channels) {
  std::exception_ptr first;
  for (const auto& channel : channels) {
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

bool come_to_rest(const CopyChannelList& channels) noexcept {
  bool well = true;
  for (const auto& channel : channels) {
    try {
      channel->stream->synchronize();
    } catch (const Error&) {
      well = false;
    }
  }
  return well;
}

}  // namespace warpload
