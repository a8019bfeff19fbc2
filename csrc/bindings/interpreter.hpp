// The interpreter's lock, released and taken by C++.
//
// Once the interpreter has begun to end, a thread other than the main one that asks for its lock never gets it: CPython
// before 3.14 ends the thread there, by unwinding its stack. That must not go on through destructors, which ends the
// process, nor through frames that hold Python's objects. So such a thread stays where it is, as it does in
// CPython 3.14, until the process is gone.
#pragma once

#include <Python.h>
#include <unistd.h>

#include <utility>

namespace warpload::bindings {

[[noreturn]] inline void stay_until_the_end() noexcept {
  while (true) ::pause();
}

// Runs what may have to wait for the lock, and throws nothing of C++: only an end of the thread comes by.
template <class Function>
auto stay_if_ended(const Function& function) noexcept {
  try {
    return function();
  } catch (...) {
    stay_until_the_end();
  }
}

// True from where other threads do not get the lock any more.
[[nodiscard]] inline bool interpreter_ends() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsInitialized() == 0 || Py_IsFinalizing() != 0;
#else
  return Py_IsInitialized() == 0 || _Py_IsFinalizing() != 0;
#endif
}

// Without the lock as long as this lives.
class Unlocked {
 public:
  Unlocked() noexcept : thread_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    stay_if_ended([this] { PyEval_RestoreThread(thread_); });
  }

 private:
  PyThreadState* thread_;
};

// With the lock as long as this lives, on any thread.
class Locked {
 public:
  Locked() noexcept : state_(stay_if_ended([] { return PyGILState_Ensure(); })) {}
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

// Destroys what waits for the core's threads: without the lock, which they may need; and not at all while the
// interpreter ends, as they would not get it any more. The process is about to go then, with all that it has.
struct DeleteUnlocked {
  template <class Object>
  void operator()(Object* object) const {
    if (interpreter_ends()) return;
    const Unlocked unlocked;
    delete object;
  }
};

}  // namespace warpload::bindings
