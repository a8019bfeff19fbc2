#include "base/available_memory.hpp"

#include <gtest/gtest.h>

#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

using testing::TemporaryDirectory;

class AvailableMemoryTest : public ::testing::Test {
 protected:
  AvailableMemoryTest() {
    directory_.write("meminfo", "MemTotal:  2000 kB\nMemFree: 100 kB\nMemAvailable:    1000 kB\nBuffers: 1 kB\n");
  }
  [[nodiscard]] std::uint64_t available() const {
    return available_memory({.machine = directory_ / "meminfo", .group = directory_.path()});
  }
  TemporaryDirectory directory_;
};

TEST_F(AvailableMemoryTest, IsWhatTheMachineSays) { EXPECT_EQ(available(), 1'024'000U); }

TEST_F(AvailableMemoryTest, IsWhatIsLeftOfAContainersLimitWithoutItsPageCache) {
  directory_.write("memory.max", "500000\n");
  directory_.write("memory.current", "450000\n");
  directory_.write("memory.stat", "anon 250000\nfile 200000\nkernel 7\n");
  EXPECT_EQ(available(), 250'000U);
}

TEST_F(AvailableMemoryTest, IsNothingWhereAContainerIsFull) {
  directory_.write("memory.max", "1000\n");
  directory_.write("memory.current", "4000\n");
  EXPECT_EQ(available(), 0U);
}

TEST_F(AvailableMemoryTest, AContainerWithoutALimitHasWhatTheMachineHas) {
  directory_.write("memory.max", "max\n");
  directory_.write("memory.current", "4000\n");
  EXPECT_EQ(available(), 1'024'000U);
}

TEST_F(AvailableMemoryTest, IsNothingWhereTheMachineDoesNotTell) {
  EXPECT_EQ(available_memory({.machine = directory_ / "missing", .group = directory_.path()}), 0U);
}

TEST_F(AvailableMemoryTest, IsKnownHere) { EXPECT_GT(available_memory(), 0U); }

}  // namespace
}  // namespace warpload
