/// @file
/// The one family of errors that every layer of warpload throws.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "warpload/export.h"

namespace warpload {

/// Half-open interval [begin, end) of byte offsets, counted from the start of a file.
struct ByteRange {
  std::uint64_t begin = 0;  ///< The first byte.
  std::uint64_t end = 0;    ///< The byte behind the last.

  /// How many bytes the range has.
  [[nodiscard]] constexpr std::uint64_t size() const noexcept { return end - begin; }

  /// True when both ranges have the same bytes.
  friend constexpr bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// Kinds of errors, each with a class of its own.
enum class ErrorCode : std::uint8_t {
  kFormat,           ///< The bytes of a file break the rules of their format.
  kIo,               ///< The operating system refused an operation, or a file changed under us.
  kOutOfMemory,      ///< An arena could not be reserved.
  kDevice,           ///< A device driver reported an error.
  kCancelled,        ///< The caller, a signal or a deadline stopped the load.
  kInvalidArgument,  ///< The call itself makes no sense (a programming error).
};

/// What an error is about. Every field but `reason` may be empty.
struct ErrorContext {
  std::string reason;                   ///< What is wrong, in a few words.
  std::string path = {};                ///< The file's path.
  std::string tensor = {};              ///< The tensor's name.
  std::optional<ByteRange> range = {};  ///< The bytes of the file.
  int system_error = 0;                 ///< The system's error (errno), or 0.
  int driver_error = 0;                 ///< The CUDA driver's CUresult, or 0.
  std::string cure = {};                ///< What the user can do about it.
};

/// The base class of all errors. `what()` is "PATH: tensor 'NAME': bytes [BEGIN, END): REASON: SYSTEM MESSAGE (CURE)",
/// absent parts left out.
///
/// Ownership: immutable after construction; copyable as exceptions must be.
class WARPLOAD_API Error : public std::runtime_error {
 public:
  /// Makes an error of that kind. Throw one of the derived classes instead.
  Error(ErrorCode code, ErrorContext context);

  /// The kind of error.
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  /// All fields of the error at once.
  [[nodiscard]] const ErrorContext& context() const noexcept { return context_; }
  /// What is wrong, in a few words.
  [[nodiscard]] const std::string& reason() const noexcept { return context_.reason; }
  /// The file's path, or empty.
  [[nodiscard]] const std::string& path() const noexcept { return context_.path; }
  /// The tensor's name, or empty.
  [[nodiscard]] const std::string& tensor() const noexcept { return context_.tensor; }
  /// The bytes of the file that the error is about, or nothing.
  [[nodiscard]] const std::optional<ByteRange>& range() const noexcept { return context_.range; }
  /// The system's error (errno), or 0.
  [[nodiscard]] int system_error() const noexcept { return context_.system_error; }
  /// The CUDA driver's CUresult, or 0.
  [[nodiscard]] int driver_error() const noexcept { return context_.driver_error; }
  /// What the user can do about it, or empty.
  [[nodiscard]] const std::string& cure() const noexcept { return context_.cure; }

 private:
  ErrorCode code_;
  ErrorContext context_;
};

/// The bytes of a file break the rules of their format.
class WARPLOAD_API FormatError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit FormatError(ErrorContext context) : Error(ErrorCode::kFormat, std::move(context)) {}
};

/// The operating system refused an operation, or a file changed under us.
class WARPLOAD_API IoError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit IoError(ErrorContext context) : Error(ErrorCode::kIo, std::move(context)) {}
};

/// An arena could not be reserved; the message has the sizes.
class WARPLOAD_API OutOfMemoryError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit OutOfMemoryError(ErrorContext context) : Error(ErrorCode::kOutOfMemory, std::move(context)) {}
};

/// A device driver reported an error.
class WARPLOAD_API DeviceError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit DeviceError(ErrorContext context) : Error(ErrorCode::kDevice, std::move(context)) {}
};

/// The caller, a signal or a deadline stopped the load.
class WARPLOAD_API CancelledError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit CancelledError(ErrorContext context) : Error(ErrorCode::kCancelled, std::move(context)) {}
};

/// The call itself makes no sense (a programming error).
class WARPLOAD_API InvalidArgumentError : public Error {
 public:
  /// Makes the error from what it is about.
  explicit InvalidArgumentError(ErrorContext context) : Error(ErrorCode::kInvalidArgument, std::move(context)) {}
};

}  // namespace warpload
