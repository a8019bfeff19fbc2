#include "warpload/error.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "cpp/support/catch_error.hpp"

namespace warpload {
namespace {

using testing::catch_error;

TEST(ErrorTest, MessageJoinsAllPartsInOrder) {
  const IoError error({.reason = "the file cannot be read",
                       .path = "a/b.safetensors",
                       .tensor = "weight",
                       .range = ByteRange{8, 24},
                       .system_error = EIO,
                       .cure = "check the disk"});
  EXPECT_EQ(error.what(), "a/b.safetensors: tensor 'weight': bytes [8, 24): the file cannot be read: " +
                              std::generic_category().message(EIO) + " (check the disk)");
}

TEST(ErrorTest, AbsentPartsLeaveNoTrace) {
  EXPECT_STREQ(FormatError({.reason = "bad"}).what(), "bad");
  EXPECT_STREQ(FormatError({.reason = "bad", .path = "p"}).what(), "p: bad");
  EXPECT_STREQ(FormatError({.reason = "bad", .cure = "mend it"}).what(), "bad (mend it)");
}

TEST(ErrorTest, PartsAreKeptAsTheyWereGiven) {
  const FormatError error({.reason = "r", .path = "p", .tensor = "t", .range = ByteRange{1, 4}, .cure = "c"});
  EXPECT_EQ(error.code(), ErrorCode::kFormat);
  EXPECT_EQ(error.reason(), "r");
  EXPECT_EQ(error.path(), "p");
  EXPECT_EQ(error.tensor(), "t");
  EXPECT_EQ(error.range(), (ByteRange{1, 4}));
  EXPECT_EQ(error.range()->size(), 3U);
  EXPECT_EQ(error.system_error(), 0);
  EXPECT_EQ(error.cure(), "c");
}

template <class Thrown>
ErrorCode code_when_caught_as_base() {
  return catch_error<Error>([] { throw Thrown({.reason = "x"}); }).code();
}

TEST(ErrorTest, EveryClassIsCaughtAsErrorWithItsOwnCode) {
  EXPECT_EQ(code_when_caught_as_base<FormatError>(), ErrorCode::kFormat);
  EXPECT_EQ(code_when_caught_as_base<IoError>(), ErrorCode::kIo);
  EXPECT_EQ(code_when_caught_as_base<OutOfMemoryError>(), ErrorCode::kOutOfMemory);
  EXPECT_EQ(code_when_caught_as_base<DeviceError>(), ErrorCode::kDevice);
  EXPECT_EQ(code_when_caught_as_base<CancelledError>(), ErrorCode::kCancelled);
  EXPECT_EQ(code_when_caught_as_base<InvalidArgumentError>(), ErrorCode::kInvalidArgument);
}

TEST(ErrorTest, ControlCharactersOfANameDoNotReachTheTerminal) {
  const FormatError error({.reason = "wrong", .tensor = std::string("a\x1b[31m\n")});
  EXPECT_STREQ(error.what(), "tensor 'a\\x1b[31m\\x0a': wrong");
  EXPECT_EQ(error.tensor(), "a\x1b[31m\n");
}

TEST(ErrorTest, VeryLongNamesAreCutInTheMessageOnly) {
  const std::string name(100'000, 'n');
  const FormatError error({.reason = "wrong", .tensor = name});
  EXPECT_LT(std::string(error.what()).size(), 600U);
  EXPECT_EQ(error.tensor(), name);
}

}  // namespace
}  // namespace warpload
