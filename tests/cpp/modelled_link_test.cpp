// The program warpload_modelled_link: that it loads a folder and says what it measured. How fast is no matter for a
// test.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "cpp/support/load_cases.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

struct Ended {
  int status = -1;
  std::string output;
};

Ended run(const std::string& arguments) {
  Ended ended;
  std::FILE* pipe = ::popen((std::string(WARPLOAD_MODELLED_LINK) + " " + arguments + " 2>&1").c_str(), "r");
  char piece[4096];
  while (const std::size_t count = std::fread(piece, 1, sizeof piece, pipe)) ended.output.append(piece, count);
  ended.status = WEXITSTATUS(::pclose(pipe));
  return ended;
}

TEST(ModelledLinkTest, SaysWhatShareOfTheLinkTheFirstAndTheSecondLoadReached) {
  constexpr std::size_t kElements = 3'000'000;
  const testing::TemporaryDirectory directory;
  for (const char* component : {"unet", "vae"}) {
    static_cast<void>(
        directory.write(std::string(component) + "/model.safetensors",
                        testing::safetensors_file({{"w", "F32", {kElements}, testing::f32_pattern(kElements)}})));
  }
  const Ended ended = run(directory.path().string() + " --link-gbps 2 --json");
  ASSERT_EQ(ended.status, 0) << ended.output;
  const auto result = nlohmann::json::parse(ended.output);
  EXPECT_EQ(result["bytes"], 2 * 4 * kElements);
  EXPECT_EQ(result["components"], 2);
  EXPECT_LE(result["ring_bytes"], std::uint64_t{128} << 20);
  for (const char* load : {"first", "again"}) {
    EXPECT_GT(result[load]["share"], 0) << load;
    EXPECT_LE(result[load]["share"], 1) << load;
    for (const char* cause :
         {"ramp", "pinning", "waiting_for_slots", "reading", "waiting_for_arena", "sending", "drain", "link_idle"}) {
      EXPECT_GE(result[load][cause], 0) << load << ", " << cause;
    }
  }
  EXPECT_GT(result["first"]["pinning"], 0);
}

TEST(ModelledLinkTest, FolderWithoutWeightsIsRefused) {
  const testing::TemporaryDirectory directory;
  const Ended ended = run(directory.path().string());
  EXPECT_EQ(ended.status, 1);
  EXPECT_NE(ended.output.find("no *.safetensors"), std::string::npos) << ended.output;
}

}  // namespace
}  // namespace warpload
