#include <pybind11/pybind11.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

#include "bindings/interpreter.hpp"
#include "bindings/register.hpp"
#include "bindings/unpicklable.hpp"
#include "warpload/trace.hpp"

namespace warpload::bindings {
namespace {

namespace py = pybind11;

// As Python's struct module reads it: "=qqQIII4x".
struct Record {
  std::int64_t begin_ns;
  std::int64_t end_ns;
  std::uint64_t bytes;
  std::uint32_t thread;
  std::uint32_t segment;
  std::uint32_t kind;
  std::uint32_t unused;
};
static_assert(sizeof(Record) == 40);

std::int64_t nanoseconds(std::chrono::steady_clock::time_point time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

std::string packed(const TraceEvents& found) {
  std::string bytes(found.events.size() * sizeof(Record), '\0');
  char* next = bytes.data();
  for (const TraceEvent& event : found.events) {
    const Record record{.begin_ns = nanoseconds(event.begin),
                        .end_ns = nanoseconds(event.end),
                        .bytes = event.bytes,
                        .thread = event.thread,
                        .segment = event.segment,
                        .kind = static_cast<std::uint32_t>(event.kind),
                        .unused = 0};
    std::memcpy(next, &record, sizeof record);
    next += sizeof record;
  }
  return bytes;
}

// Tens of thousands of events: as objects they would take a hundred times the memory.
py::tuple read(const LoadTrace& trace) {
  std::string bytes;
  std::uint64_t lost = 0;
  {
    const Unlocked unlocked;
    const TraceEvents found = trace.read();
    bytes = packed(found);
    lost = found.lost;
  }
  return py::make_tuple(py::bytes(bytes), lost);
}

}  // namespace

void register_trace(py::module_& module) {
  py::class_<LoadTrace> bound(module, "LoadTrace",
                              "The record of what a load's threads do. It keeps nothing of what is loaded.");
  refuse_pickling(bound);
  bound.def("read", &read,
            "Return what has been recorded until now: records of 40 bytes, \"=qqQIII4x\" to the struct module, and the "
            "number of other events, which later ones took the place of. A record has begin and end in nanoseconds of "
            "time.perf_counter_ns, bytes, the system's number of the thread, the segment, and the kind: 0 reading, 1 "
            "copying, 2 casting, 3 waiting for a slot, 4 waiting for the arena, 5 sending, 6 populating.");
}

}  // namespace warpload::bindings
