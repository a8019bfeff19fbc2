// The boundary of the C interface: what the body of a function throws becomes a status and a warpload_error.
#pragma once

#include <string>

#include "warpload/error.hpp"
#include "warpload/warpload.h"

struct warpload_error {
  warpload_error(warpload_status status, warpload::ErrorContext about, std::string text);
  warpload_error(const warpload_error&) = delete;
  warpload_error& operator=(const warpload_error&) = delete;

  const warpload::ErrorContext context;
  const std::string message;
  const warpload_error_details details;  // views of the two above
};

namespace warpload::c_interface {

// The status of the exception that is being handled, and its description where the caller wants one (and there is
// memory for it).
[[nodiscard]] warpload_status report_current_exception(warpload_error** error) noexcept;

// Runs the body of a function.
template <class Body>
warpload_status run(warpload_error** error, const Body& body) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    body();
    return WARPLOAD_OK;
  } catch (...) {
    return report_current_exception(error);
  }
}

// What the pointer points to. Throws InvalidArgumentError, naming the parameter, where it is null.
template <class Pointee>
[[nodiscard]] Pointee& required(Pointee* pointer, const char* parameter) {
  if (pointer != nullptr) return *pointer;
  throw InvalidArgumentError({.reason = std::string(parameter) + " is null"});
}

// Runs the body of a function whose result goes to `*out`, which is null or zero where it fails.
template <class Out, class Body>
warpload_status give(Out* out, warpload_error** error, const Body& body) noexcept {
  return run(error, [&] {
    required(out, "out") = Out{};
    *out = body();
  });
}

}  // namespace warpload::c_interface
