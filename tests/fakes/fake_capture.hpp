// Control of the fake driver's stream capture: what a test does in the place of a program that records a CUDA graph.
//
// The rules are those of the driver's documentation, read to the letter: which calls are "potentially unsafe" it does
// not list, so here all are but those that only queue work in a stream or ask for what no device knows. A call that is
// refused breaks the capture that it disturbs, as the real one does.
#pragma once

#include <cstddef>

#include "fakes/fake_cuda.hpp"

namespace warpload::testing {

// Whom a capture keeps from unsafe calls, and what a thread lets itself be kept from (the driver's numbers).
enum class CaptureMode { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

// The calls that capture; the core makes none of them, so they are not in its list. What is queued in between, in that
// stream and in those that wait for its events, does not run. The end reports whether the capture was broken, or has
// streams that did not come back; a graph is a mere number.
extern "C" {
WARPLOAD_FAKE_EXPORT cuda::Result cuStreamBeginCapture_v2(cuda::StreamHandle stream, int mode);
WARPLOAD_FAKE_EXPORT cuda::Result cuStreamEndCapture(cuda::StreamHandle stream, void** graph);
WARPLOAD_FAKE_EXPORT cuda::Result cuGraphDestroy(void* graph);
}

// How many threads have another mode than the one that they began with.
[[nodiscard]] WARPLOAD_FAKE_EXPORT std::size_t threads_with_changed_capture_mode();

}  // namespace warpload::testing
