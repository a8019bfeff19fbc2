// The one family of errors that every layer of warpload throws.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace warpload {

// Half-open interval [begin, end) of byte offsets, counted from the start of a file.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  [[nodiscard]] constexpr std::uint64_t size() const noexcept { return end - begin; }
  friend constexpr bool operator==(const ByteRange&, const ByteRange&) = default;
};

enum class ErrorCode {
  kFormat,           // the bytes of a file break the rules of their format
  kIo,               // the operating system refused an operation, or a file changed under us
  kOutOfMemory,      // an arena could not be reserved
  kDevice,           // a device driver reported an error
  kCancelled,        // the caller, a signal or a deadline stopped the load
  kInvalidArgument,  // the call itself makes no sense (a programming error)
};

// What an error is about. Every field but `reason` may be empty.
struct ErrorContext {
  std::string reason;                   // what is wrong, in a few words
  std::string path = {};                // the file
  std::string tensor = {};              // the tensor's name
  std::optional<ByteRange> range = {};  // where in the file
  int system_error = 0;                 // errno, or 0
  std::string cure = {};                // what the user can do about it
};

// Base class. Immutable after construction; copyable as exceptions must be. `what()` is
// "PATH: tensor 'NAME': bytes [BEGIN, END): REASON: SYSTEM MESSAGE (CURE)", absent parts left out.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, ErrorContext context);

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& reason() const noexcept { return context_.reason; }
  [[nodiscard]] const std::string& path() const noexcept { return context_.path; }
  [[nodiscard]] const std::string& tensor() const noexcept { return context_.tensor; }
  [[nodiscard]] const std::optional<ByteRange>& range() const noexcept { return context_.range; }
  [[nodiscard]] int system_error() const noexcept { return context_.system_error; }
  [[nodiscard]] const std::string& cure() const noexcept { return context_.cure; }

 private:
  ErrorCode code_;
  ErrorContext context_;
};

// One class a code, so that callers can catch by kind.
class FormatError : public Error {
 public:
  explicit FormatError(ErrorContext context) : Error(ErrorCode::kFormat, std::move(context)) {}
};

class IoError : public Error {
 public:
  explicit IoError(ErrorContext context) : Error(ErrorCode::kIo, std::move(context)) {}
};

class OutOfMemoryError : public Error {
 public:
  explicit OutOfMemoryError(ErrorContext context) : Error(ErrorCode::kOutOfMemory, std::move(context)) {}
};

class DeviceError : public Error {
 public:
  explicit DeviceError(ErrorContext context) : Error(ErrorCode::kDevice, std::move(context)) {}
};

class CancelledError : public Error {
 public:
  explicit CancelledError(ErrorContext context) : Error(ErrorCode::kCancelled, std::move(context)) {}
};

class InvalidArgumentError : public Error {
 public:
  explicit InvalidArgumentError(ErrorContext context) : Error(ErrorCode::kInvalidArgument, std::move(context)) {}
};

}  // namespace warpload
