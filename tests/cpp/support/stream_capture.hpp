// A CUDA graph that somebody else records, in a stream of his own.
#pragma once

#include <dlfcn.h>

#include <memory>

#include "cpp/support/backends.hpp"
#include "cpp/support/caller_stream.hpp"
#include "device/cuda/context.hpp"
#include "fakes/fake_capture.hpp"

namespace warpload::testing {

// Captures in `stream` from its construction to end(), both on one thread.
class StreamCapture {
 public:
  StreamCapture(BackendKind kind, const CallerStream& stream, CaptureMode mode = CaptureMode::kGlobal)
      : library_(::dlopen(driver_library(kind).c_str(), RTLD_NOW | RTLD_LOCAL)),
        context_(cuda::Driver::open(driver_library(kind)), 0),
        stream_(static_cast<cuda::StreamHandle>(stream.handle())) {
    const cuda::CurrentContext current(context_);
    const auto begin = find<cuda::Result(cuda::StreamHandle, int)>("cuStreamBeginCapture_v2");
    context_.check(begin(stream_, static_cast<int>(mode)), "cuStreamBeginCapture_v2");
  }
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;
  ~StreamCapture() { ::dlclose(library_); }

  // kSuccess where nothing has broken the capture.
  cuda::Result end() {
    const cuda::CurrentContext current(context_);
    void* graph = nullptr;
    const cuda::Result result = find<cuda::Result(cuda::StreamHandle, void**)>("cuStreamEndCapture")(stream_, &graph);
    if (graph != nullptr) static_cast<void>(find<cuda::Result(void*)>("cuGraphDestroy")(graph));
    return result;
  }

 private:
  template <class Function>
  [[nodiscard]] Function* find(const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(library_, name));
  }

  void* library_;
  cuda::Context context_;
  cuda::StreamHandle stream_;
};

}  // namespace warpload::testing
