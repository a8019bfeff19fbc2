// Who waits for a device's copy streams, and for whom they wait.
//
//   copies          wait for  the caller's stream, up to now   make_copies_wait: its memory may be in use there
//   caller's stream waits for all copies, up to now            make_caller_wait: what it does next finds the bytes
//   the host        waits for all copies, up to now            wait_for_copies, come_to_rest
//
// "Up to now": what has been queued when the function is called. Threads: any, beside copies that are being queued.
#pragma once

#include "load/copy_channels.hpp"

namespace warpload {

// Throws InvalidArgumentError where the caller's stream is being captured into a graph, DeviceError.
void make_copies_wait(const CopyChannelList& channels, void* caller_stream);

// Throws InvalidArgumentError where the caller's stream is being captured into a graph, DeviceError.
void make_caller_wait(const CopyChannelList& channels, void* caller_stream);

// Throws the first DeviceError of a copy that failed, when all channels have been waited for.
void wait_for_copies(const CopyChannelList& channels);

// Waits too, for channels that nothing is queued in meanwhile; false where the device is lost: nothing copies any more
// then, and nothing will.
[[nodiscard]] bool come_to_rest(const CopyChannelList& channels) noexcept;

}  // namespace warpload
