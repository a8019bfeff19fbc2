#include "interop/c_error.hpp"

#include <exception>
#include <utility>

namespace warpload::c_interface {
namespace {

// An error's status is its code and one.
constexpr warpload_status status_of(ErrorCode code) noexcept { return static_cast<warpload_status>(code) + 1; }

static_assert(status_of(ErrorCode::kFormat) == WARPLOAD_FORMAT);
static_assert(status_of(ErrorCode::kIo) == WARPLOAD_IO);
static_assert(status_of(ErrorCode::kOutOfMemory) == WARPLOAD_OUT_OF_MEMORY);
static_assert(status_of(ErrorCode::kDevice) == WARPLOAD_DEVICE);
static_assert(status_of(ErrorCode::kCancelled) == WARPLOAD_CANCELLED);
static_assert(status_of(ErrorCode::kInvalidArgument) == WARPLOAD_INVALID_ARGUMENT);

warpload_error_details details_of(warpload_status status, const ErrorContext& context, const char* message) {
  const ByteRange range = context.range.value_or(ByteRange{});
  return {.message = message,
          .reason = context.reason.c_str(),
          .path = context.path.c_str(),
          .tensor = context.tensor.c_str(),
          .cure = context.cure.c_str(),
          .range_begin = range.begin,
          .range_end = range.end,
          .has_range = context.range.has_value() ? 1 : 0,
          .status = status,
          .system_error = context.system_error,
          .driver_error = context.driver_error};
}

// Where even the description finds no memory, the status has to do.
warpload_status describe(warpload_error** error, warpload_status status, const ErrorContext& context,
                         const char* message) noexcept {
  if (error == nullptr) return status;
  try {
    *error = new warpload_error(status, context, message);
  } catch (...) {
  }
  return status;
}

warpload_status describe_foreign(warpload_error** error, const char* reason) noexcept {
  try {
    return describe(error, WARPLOAD_INTERNAL, {.reason = reason}, reason);
  } catch (...) {
    return WARPLOAD_INTERNAL;
  }
}

constexpr warpload_error_details kNothing{.message = "",
                                          .reason = "",
                                          .path = "",
                                          .tensor = "",
                                          .cure = "",
                                          .range_begin = 0,
                                          .range_end = 0,
                                          .has_range = 0,
                                          .status = WARPLOAD_OK,
                                          .system_error = 0,
                                          .driver_error = 0};

}  // namespace

warpload_status report_current_exception(warpload_error** error) noexcept {
  try {
    throw;
  } catch (const Error& ours) {
    return describe(error, status_of(ours.code()), ours.context(), ours.what());
  } catch (const std::exception& foreign) {
    return describe_foreign(error, foreign.what());
  } catch (...) {
    return describe_foreign(error, "an exception of an unknown kind");
  }
}

}  // namespace warpload::c_interface

warpload_error::warpload_error(warpload_status status, warpload::ErrorContext about, std::string text)
    : context(std::move(about)),
      message(std::move(text)),
      details(warpload::c_interface::details_of(status, context, message.c_str())) {}

const warpload_error_details* warpload_error_get(const warpload_error* error) {
  return error != nullptr ? &error->details : &warpload::c_interface::kNothing;
}

void warpload_error_free(warpload_error* error) { delete error; }
