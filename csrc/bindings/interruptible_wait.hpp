// Ctrl-C while Python waits for a load.
//
// Python notes a signal and runs its handler only in the main thread, between two instructions or where it is asked to:
// a thread that waits in C++ would not hear of it. So every wait for a load goes in short steps, and asks in between.
#pragma once

#include <Python.h>
#include <pybind11/pybind11.h>

#include <chrono>

#include "bindings/interpreter.hpp"
#include "warpload/load_handle.hpp"

namespace warpload::bindings {

// How often a wait asks for signals: soon enough for a person, seldom enough to cost nothing.
inline constexpr std::chrono::milliseconds kSignalInterval{50};

// Waits until `finished(interval)` returns true: a wait for the load that takes no longer than `interval`, which is
// called again and again. One that cannot be cut short (a driver's) may take longer and return true at once; a signal
// is then seen behind it.
//
// Signals: an exception of a signal's handler (KeyboardInterrupt, say) cancels the load, waits until no worker and no
// copy touches its memory, and is thrown. In a thread other than the main one there are none to see.
// The interpreter's lock: held by the caller; released while `finished` runs, so that other Python threads go on, and
// taken back before anything of Python is touched, and before this returns.
// Failure: what `finished` throws passes through. A load that failed or was cancelled counts as finished: ask
// LoadHandle::rethrow_if_failed.
template <class Finished>
void interruptible_wait(LoadHandle& handle, const Finished& finished) {
  bool over = false;
  while (!over) {
    {
      const Unlocked unlocked;
      over = finished(kSignalInterval);
    }
    if (PyErr_CheckSignals() == 0) continue;
    {
      const Unlocked unlocked;
      handle.cancel();
      handle.wait();
    }
    throw pybind11::error_already_set();
  }
}

}  // namespace warpload::bindings
