// Loaders in C, and the start of loads.
#include <memory>
#include <utility>

#include "interop/c_error.hpp"
#include "interop/c_handles.hpp"
#include "interop/c_options.hpp"

namespace warpload::c_interface {
namespace {

// Nothing may fail once the caller's memory is kept: a load that is not started does not release it.
std::unique_ptr<warpload_load> start(const warpload_loader& loader, const Checkpoint::Ptr& checkpoint,
                                     LoadRequest request) {
  LoadHandle handle = loader.loader.start(checkpoint, std::move(request.segment));
  if (request.deadline) handle.cancel_at(*request.deadline);
  auto load = std::make_unique<warpload_load>(loader.device, std::move(handle), request.memory);
  if (request.memory) request.memory->keep();
  return load;
}

}  // namespace
}  // namespace warpload::c_interface

using namespace warpload::c_interface;

warpload_status warpload_loader_create(const warpload_loader_options* options, warpload_loader** out,
                                       warpload_error** error) {
  return give(out, error, [&] { return std::make_unique<warpload_loader>(read_loader_options(options)).release(); });
}

void warpload_loader_free(warpload_loader* loader) { delete loader; }

warpload_status warpload_arena_bytes(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                     const warpload_load_options* options, uint64_t* out, warpload_error** error) {
  return give(out, error, [&] {
    const auto& target = required(loader, "loader");
    const auto& opened = required(checkpoint, "checkpoint").checkpoint;
    return target.loader.arena_bytes(opened, read_segment_options(options, *opened));
  });
}

warpload_status warpload_load_start(const warpload_loader* loader, const warpload_checkpoint* checkpoint,
                                    const warpload_load_options* options, warpload_load** out, warpload_error** error) {
  return give(out, error, [&] {
    const auto& target = required(loader, "loader");
    const auto& opened = required(checkpoint, "checkpoint").checkpoint;
    return start(target, opened, read_load_options(options, *opened, target.device)).release();
  });
}
