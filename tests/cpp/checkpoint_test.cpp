#include "warpload/checkpoint.hpp"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "cpp/support/temporary_directory.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::MemorySource;
using testing::pattern_bytes;
using testing::safetensors_file;
using testing::TemporaryDirectory;

TEST(CheckpointTest, TensorsOfSeveralShardsAreListedShardByShardInFileOrder) {
  TemporaryDirectory directory;
  const auto first = directory.write(
      "a.safetensors", safetensors_file({{"z", "U8", {3}, pattern_bytes(3)}, {"b", "F32", {1, 2}, pattern_bytes(8)}}));
  const auto second = directory.write("b.safetensors", safetensors_file({{"a", "BF16", {}, pattern_bytes(2)}}));

  const auto checkpoint = Checkpoint::open({first, second});

  ASSERT_EQ(checkpoint->tensors().size(), 3U);
  EXPECT_EQ(checkpoint->tensors()[0].name, "z");
  EXPECT_EQ(checkpoint->tensors()[1].name, "b");
  EXPECT_EQ(checkpoint->tensors()[1].shape, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(checkpoint->tensors()[2].name, "a");
  EXPECT_EQ(checkpoint->tensors()[2].shard, 1U);
  EXPECT_EQ(checkpoint->tensors()[2].dtype, DType::bf16);
  EXPECT_EQ(checkpoint->shard_path(1), second.string());
}

TEST(CheckpointTest, FindReturnsTheTensorOrNull) {
  const auto source = std::make_shared<MemorySource>(safetensors_file({{"weight", "U8", {1}, "x"}}));
  const auto checkpoint = Checkpoint::from_sources({source});
  ASSERT_NE(checkpoint->find("weight"), nullptr);
  EXPECT_EQ(checkpoint->find("weight")->range.size(), 1U);
  EXPECT_EQ(checkpoint->find("bias"), nullptr);
}

TEST(CheckpointTest, TensorInTwoShardsIsRefusedAndBothShardsAreNamed) {
  const auto bytes = safetensors_file({{"weight", "U8", {1}, "x"}});
  const auto first = std::make_shared<MemorySource>(bytes, MemorySource::Options{.path = "first.safetensors"});
  const auto second = std::make_shared<MemorySource>(bytes, MemorySource::Options{.path = "second.safetensors"});
  const auto error = catch_error<FormatError>([&] { static_cast<void>(Checkpoint::from_sources({first, second})); });
  EXPECT_EQ(error.path(), "second.safetensors");
  EXPECT_EQ(error.tensor(), "weight");
  EXPECT_NE(error.reason().find("first.safetensors"), std::string::npos);
}

TEST(CheckpointTest, IndexOpensEveryShardOnce) {
  TemporaryDirectory directory;
  directory.write("one.safetensors", safetensors_file({{"a", "U8", {1}, "1"}, {"b", "U8", {1}, "2"}}));
  directory.write("two.safetensors", safetensors_file({{"c", "U8", {1}, "3"}}));
  const auto index =
      directory.write("model.safetensors.index.json",
                      R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}})");
  const auto checkpoint = Checkpoint::open_index(index);
  EXPECT_EQ(checkpoint->shard_count(), 2U);
  EXPECT_NE(checkpoint->find("c"), nullptr);
}

TEST(CheckpointTest, OpenTakesAnIndexByItsName) {
  TemporaryDirectory directory;
  directory.write("one.safetensors", safetensors_file({{"a", "U8", {1}, "x"}}));
  const std::string index = R"({"weight_map": {"a": "one.safetensors"}})";
  for (const std::string name : {"model.safetensors.index.json", "model.safetensors.index.fp16.json"}) {
    const auto path = directory.write(name, index);
    EXPECT_EQ(Checkpoint::open(path)->tensors().size(), 1U);
    EXPECT_EQ(Checkpoint::open(path.c_str())->tensors().size(), 1U);
    EXPECT_EQ(Checkpoint::open({path})->tensors().size(), 1U);
  }
}

TEST(CheckpointTest, OpenTakesASingleShardByItself) {
  TemporaryDirectory directory;
  const auto path = directory.write("one.safetensors", safetensors_file({{"a", "U8", {1}, "x"}}));
  EXPECT_EQ(Checkpoint::open(path)->tensors().size(), 1U);
  EXPECT_EQ(Checkpoint::open(path.string())->tensors().size(), 1U);
}

TEST(CheckpointTest, OnlyNamesOfIndexesCountAsSuch) {
  EXPECT_TRUE(Checkpoint::is_index("folder/diffusion_pytorch_model.safetensors.index.json"));
  EXPECT_FALSE(Checkpoint::is_index("folder.index.d/config.json"));
  EXPECT_FALSE(Checkpoint::is_index("model.index.safetensors"));
}

TEST(CheckpointTest, EmptyListIsRefused) {
  EXPECT_THROW(static_cast<void>(Checkpoint::open(std::vector<std::filesystem::path>{})), InvalidArgumentError);
}

// A folder with an index, opened by either set of rules.
class IndexTest : public ::testing::Test {
 protected:
  void write(const std::string& shard, const std::vector<testing::TensorSpec>& tensors) {
    directory_.write(shard, safetensors_file(tensors));
  }

  Checkpoint::Ptr open(const std::string& weight_map, IndexRules rules) {
    index_ = directory_.write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + weight_map + "}");
    return Checkpoint::open(index_, rules);
  }

  FormatError refusal(const std::string& weight_map) {
    auto error = catch_error<FormatError>([&] { static_cast<void>(open(weight_map, IndexRules::strict)); });
    EXPECT_EQ(error.path(), index_.string());
    return error;
  }

  static std::vector<OddityKind> kinds(const Checkpoint& checkpoint) {
    std::vector<OddityKind> result;
    for (const Oddity& oddity : checkpoint.oddities()) result.push_back(oddity.kind);
    return result;
  }

  static constexpr std::array kBothRules{IndexRules::strict, IndexRules::as_published};

  TemporaryDirectory directory_;
  std::filesystem::path index_;
};

TEST_F(IndexTest, ATensorThatNoShardHasIsRefusedByTheStrictRulesOnly) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}});
  write("two.safetensors", {{"b", "U8", {1}, "2"}});
  const std::string map = R"({"a":"one.safetensors","b":"two.safetensors","z":"one.safetensors"})";

  const auto error = refusal(map);
  EXPECT_EQ(error.tensor(), "z");
  EXPECT_NE(error.reason().find("one.safetensors"), std::string::npos);

  const auto checkpoint = open(map, IndexRules::as_published);
  EXPECT_EQ(checkpoint->find("z"), nullptr);
  EXPECT_EQ(kinds(*checkpoint), std::vector{OddityKind::absent});
  EXPECT_EQ(checkpoint->oddities()[0].tensor, "z");
}

TEST_F(IndexTest, ATensorOfAnotherShardIsTakenFromThere) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}});
  write("two.safetensors", {{"b", "U8", {2}, "22"}});
  for (const IndexRules rules : kBothRules) {
    const auto checkpoint = open(R"({"a":"two.safetensors","b":"one.safetensors"})", rules);
    EXPECT_EQ(checkpoint->find("a")->shard, 0U);
    EXPECT_EQ(checkpoint->find("b")->shard, 1U);
    EXPECT_EQ(kinds(*checkpoint), (std::vector{OddityKind::misplaced, OddityKind::misplaced}));
  }
}

TEST_F(IndexTest, OfTwoCopiesThatOfTheLastShardCountsWhereTheIndexNamesIt) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}, {"w", "U8", {1}, "1"}});
  write("two.safetensors", {{"b", "U8", {1}, "2"}, {"w", "U8", {1}, "2"}});
  for (const IndexRules rules : kBothRules) {
    const auto checkpoint = open(R"({"a":"one.safetensors","b":"two.safetensors","w":"two.safetensors"})", rules);
    ASSERT_EQ(checkpoint->tensors().size(), 3U);
    EXPECT_EQ(checkpoint->find("w")->shard, 1U);
    EXPECT_EQ(checkpoint->find("b")->shard, 1U);
    EXPECT_EQ(checkpoint->find("a")->shard, 0U);
    EXPECT_EQ(kinds(*checkpoint), std::vector{OddityKind::stale_copy});
    EXPECT_EQ(checkpoint->oddities()[0].tensor, "w");
  }
}

TEST_F(IndexTest, CopiesOfWhichTheIndexDoesNotNameTheLastAreRefusedByTheStrictRulesOnly) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}, {"w", "U8", {1}, "1"}});
  write("two.safetensors", {{"b", "U8", {1}, "2"}, {"w", "U8", {1}, "2"}});
  for (const std::string map : {R"({"a":"one.safetensors","b":"two.safetensors","w":"one.safetensors"})",
                                R"({"a":"one.safetensors","b":"two.safetensors"})"}) {
    const auto error = refusal(map);
    EXPECT_EQ(error.tensor(), "w");
    EXPECT_NE(error.reason().find("which is meant is uncertain"), std::string::npos);

    EXPECT_EQ(open(map, IndexRules::as_published)->find("w")->shard, 1U);
  }
}

TEST_F(IndexTest, CopiesOfAnotherShapeOrDTypeAreToldApart) {
  write("one.safetensors", {{"v", "U8", {2}, "12"}, {"w", "U8", {2}, "12"}});
  write("two.safetensors", {{"v", "U8", {1}, "3"}, {"w", "F16", {1}, "34"}});
  const auto checkpoint =
      open(R"({"v":"two.safetensors","w":"two.safetensors","x":"one.safetensors"})", IndexRules::as_published);
  EXPECT_EQ(checkpoint->find("v")->shape, std::vector<std::uint64_t>{1});
  EXPECT_EQ(checkpoint->find("w")->dtype, DType::f16);
  EXPECT_EQ(kinds(*checkpoint), (std::vector{OddityKind::conflicting_copy, OddityKind::absent}));
  EXPECT_EQ(checkpoint->oddities()[0].more, 1U);
}

TEST_F(IndexTest, ATensorThatTheIndexLeavesOutIsThereAndTold) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}, {"b", "U8", {1}, "2"}});
  for (const IndexRules rules : kBothRules) {
    const auto checkpoint = open(R"({"a":"one.safetensors"})", rules);
    EXPECT_NE(checkpoint->find("b"), nullptr);
    EXPECT_EQ(kinds(*checkpoint), std::vector{OddityKind::unlisted});
  }
}

TEST_F(IndexTest, AnIndexThatIsRightIsNotOdd) {
  write("one.safetensors", {{"a", "U8", {1}, "1"}});
  for (const IndexRules rules : kBothRules) EXPECT_TRUE(open(R"({"a":"one.safetensors"})", rules)->oddities().empty());
}

TEST_F(IndexTest, OddHeadersOfItsShardsAreToldAfterItsOwn) {
  directory_.write("one.safetensors", testing::safetensors_bytes(R"({"a":["U8",[1],[0,1]]})", "1"));
  const auto checkpoint = open(R"({"a":"one.safetensors","b":"one.safetensors"})", IndexRules::as_published);
  EXPECT_EQ(kinds(*checkpoint), (std::vector{OddityKind::absent, OddityKind::header}));
}

TEST(CheckpointTest, MissingShardIsAnIoErrorThatNamesTheShard) {
  TemporaryDirectory directory;
  const auto index = directory.write("model.safetensors.index.json", R"({"weight_map": {"a": "gone.safetensors"}})");
  const auto error = catch_error<IoError>([&] { static_cast<void>(Checkpoint::open_index(index)); });
  EXPECT_EQ(error.system_error(), ENOENT);
  EXPECT_EQ(error.path(), (directory / "gone.safetensors").string());
}

}  // namespace
}  // namespace warpload
