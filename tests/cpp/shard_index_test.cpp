#include "format/shard_index.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/temporary_directory.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using testing::catch_error;
using testing::TemporaryDirectory;

class ShardIndexTest : public ::testing::Test {
 protected:
  ShardIndex read(std::string_view text, IndexRules rules = IndexRules::strict) const {
    return read_shard_index(directory_.write("index.json", text), rules);
  }

  ShardIndex read_as_published(std::string_view text) const { return read(text, IndexRules::as_published); }

  FormatError refusal(std::string_view text, IndexRules rules = IndexRules::strict) const {
    auto error = catch_error<FormatError>([&] { (void)read(text, rules); });
    EXPECT_EQ(error.path(), (directory_ / "index.json").string());
    EXPECT_FALSE(error.cure().empty());
    return error;
  }

  FormatError refusal_of_name(const std::string& name) const {
    auto error = refusal(R"({"weight_map":{"w":")" + name + R"("}})");
    EXPECT_EQ(error.tensor(), "w");
    return error;
  }

  std::vector<std::filesystem::path> in_directory(const std::vector<std::string>& names) const {
    std::vector<std::filesystem::path> paths;
    for (const std::string& name : names) paths.push_back(directory_ / name);
    return paths;
  }

  TemporaryDirectory directory_;
};

TEST_F(ShardIndexTest, ShardsAreSortedAndTensorsPointToThem) {
  const auto index = read(
      R"({"metadata":{"total_size":7},"weight_map":{"z":"b.safetensors","a":"c.safetensors","m":"b.safetensors",
          "k":"a.safetensors"}})");
  EXPECT_EQ(index.shards, in_directory({"a.safetensors", "b.safetensors", "c.safetensors"}));
  EXPECT_EQ(index.tensor_to_shard, (std::map<std::string, std::size_t>{{"a", 2}, {"k", 0}, {"m", 1}, {"z", 1}}));
}

TEST_F(ShardIndexTest, ARelativePathToTheIndexGivesRelativeShards) {
  read(R"({"weight_map":{"w":"a"}})");
  const auto previous = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());
  const auto index = read_shard_index("index.json");
  std::filesystem::current_path(previous);
  EXPECT_EQ(index.shards, std::vector<std::filesystem::path>{"a"});
}

TEST_F(ShardIndexTest, UnknownTopLevelKeysAreIgnoredWhateverTheyHold) {
  const auto index = read(
      R"({"metadata":null,"x":[1,-2.5e3,{"weight_map":{"q":"/no"}}],"weight_map":{"w":"a"},"y":{"b":"../c"},"z":true})");
  EXPECT_EQ(index.shards, in_directory({"a"}));
  EXPECT_EQ(index.tensor_to_shard.size(), 1U);
}

TEST_F(ShardIndexTest, NamesInSubfoldersAreAllowedAndSpelledInOneWay) {
  const auto index = read(R"({"weight_map":{"a":"part/x","b":"./part/x","c":"part//x","d":"part/./x","e":"..x"}})");
  EXPECT_EQ(index.shards, in_directory({"..x", "part/x"}));
  EXPECT_EQ(index.tensor_to_shard.at("d"), 1U);
}

TEST_F(ShardIndexTest, EscapedNamesAreDecoded) {
  EXPECT_EQ(read("{\"weight_map\":{\"w\":\"\\u0061\\u00e9\"}}").shards, in_directory({"a\xC3\xA9"}));
}

TEST_F(ShardIndexTest, AnAbsoluteNameIsRefused) {
  EXPECT_EQ(refusal_of_name("/etc/passwd").reason(), "the shard's name '/etc/passwd' is an absolute path");
}

TEST_F(ShardIndexTest, ANameThatClimbsOutIsRefused) {
  for (const std::string name : {"..", "../a", "a/../../b", "a/../b", "a/..", "./../a"}) {
    EXPECT_NE(refusal_of_name(name).reason().find("climbs out"), std::string::npos) << name;
  }
}

TEST_F(ShardIndexTest, AnEmptyNameIsRefused) {
  EXPECT_EQ(refusal_of_name("").reason(), "the shard's name '' is empty");
}

TEST_F(ShardIndexTest, ANameOfAFolderIsRefused) {
  for (const std::string name : {".", "a/", "a/.", "./"}) {
    EXPECT_NE(refusal_of_name(name).reason().find("is a folder"), std::string::npos) << name;
  }
}

TEST_F(ShardIndexTest, ANameWithANulByteIsRefusedAndShownEscaped) {
  EXPECT_EQ(refusal_of_name("a\\u0000b").reason(), R"(the shard's name 'a\x00b' contains a NUL byte)");
}

TEST_F(ShardIndexTest, AValueThatIsNotAStringIsRefusedWithItsPlace) {
  const auto error = refusal(R"({"weight_map":{"w":17}})");
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_EQ(error.range(), (ByteRange{19, 21}));
  EXPECT_NE(error.reason().find("found a number"), std::string::npos);
  EXPECT_NE(refusal(R"({"weight_map":{"w":["a"]}})").reason().find("found an array"), std::string::npos);
}

TEST_F(ShardIndexTest, AWeightMapThatIsNotAnObjectIsRefused) {
  EXPECT_NE(refusal(R"({"weight_map":["a"]})").reason().find("found an array"), std::string::npos);
  EXPECT_NE(refusal(R"({"weight_map":"a"})").reason().find("found a string"), std::string::npos);
}

TEST_F(ShardIndexTest, AnEmptyWeightMapIsRefused) {
  EXPECT_EQ(refusal(R"({"weight_map":{}})").reason(), "the weight_map is empty");
}

TEST_F(ShardIndexTest, AMissingWeightMapIsRefused) {
  EXPECT_EQ(refusal(R"({"metadata":{}})").reason(), "the index has no weight_map");
}

TEST_F(ShardIndexTest, ATopThatIsNotAnObjectIsRefused) {
  EXPECT_NE(refusal("[1]").reason().find("must be an object, found an array"), std::string::npos);
  EXPECT_NE(refusal("\"a\"").reason().find("must be an object, found a string"), std::string::npos);
}

TEST_F(ShardIndexTest, DuplicateTensorsAreRefusedAndNamed) {
  const auto error = refusal(R"({"weight_map":{"w":"a","w":"b"}})");
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_EQ(error.reason(), "duplicate key 'w'");
  EXPECT_EQ(error.range(), (ByteRange{23, 24}));
}

TEST_F(ShardIndexTest, DuplicateKeysAreRefusedAtEveryLevel) {
  const auto top = refusal(R"({"weight_map":{"w":"a"},"weight_map":{"v":"a"}})");
  EXPECT_EQ(top.reason(), "duplicate key 'weight_map'");
  EXPECT_EQ(top.tensor(), "");
  EXPECT_EQ(refusal(R"({"x":{"y":1,"y":2},"weight_map":{"w":"a"}})").tensor(), "");
  EXPECT_EQ(refusal(R"({"x":[[{"deep":1,"d\u0065ep":2}]],"weight_map":{"w":"a"}})").reason(), "duplicate key 'deep'");
}

TEST_F(ShardIndexTest, AsPublishedTheLastOfTwoKeysCounts) {
  const auto index = read_as_published(R"({"metadata":{"x":1,"x":2},"weight_map":{"w":"a","v":"c","w":"b"}})");
  EXPECT_EQ(index.shards, in_directory({"b", "c"}));
  EXPECT_EQ(index.tensor_to_shard, (std::map<std::string, std::size_t>{{"v", 1}, {"w", 0}}));
  ASSERT_FALSE(index.oddities.empty());
  EXPECT_EQ(index.oddities[0].kind, OddityKind::repeated_key);
  EXPECT_EQ(index.oddities[0].tensor, "w");

  const auto twice = read_as_published(R"({"weight_map":{"w":"a"},"metadata":1,"weight_map":{"v":"b"},"metadata":{}})");
  EXPECT_EQ(twice.shards, in_directory({"b"}));
  EXPECT_EQ(twice.tensor_to_shard.size(), 1U);
  ASSERT_FALSE(twice.oddities.empty());
  EXPECT_EQ(twice.oddities[0].kind, OddityKind::repeated_key);
}

TEST_F(ShardIndexTest, AsPublishedThereHasToBeAnObjectOfMetadata) {
  for (const std::string top :
       {"", R"("metadata":null,)", R"("metadata":[],)", R"("metadata":{},"metadata":0,)", R"("x":{"metadata":{}},)"}) {
    const auto error = refusal("{" + top + R"("weight_map":{"w":"a"}})", IndexRules::as_published);
    EXPECT_NE(error.reason().find("no object called metadata"), std::string::npos) << top;
  }
  EXPECT_NO_THROW((void)read(R"({"weight_map":{"w":"a"}})"));
  EXPECT_NO_THROW((void)read_as_published(R"({"weight_map":{"w":"a"},"metadata":{}})"));
}

TEST_F(ShardIndexTest, ShardsAreInTheOrderOfTheirNamesAsTheIndexSpellsThem) {
  // The libraries read "./b" before "a", and "b" once more after it.
  EXPECT_EQ(read(R"({"weight_map":{"v":"a","w":"./b"}})").shards, in_directory({"b", "a"}));
  EXPECT_EQ(read(R"({"weight_map":{"v":"a","w":"./b","x":"b"}})").shards, in_directory({"a", "b"}));
}

TEST_F(ShardIndexTest, UnusualNamesOfShardsAreTold) {
  const auto index = read(R"({"weight_map":{"v":"part/a.safetensors","w":"b.bin","x":"c.safetensors"}})");
  ASSERT_EQ(index.oddities.size(), 2U);
  EXPECT_EQ(index.oddities[0].kind, OddityKind::path);
  EXPECT_NE(index.oddities[0].what.find("'part/a.safetensors'"), std::string::npos);
  EXPECT_EQ(index.oddities[1].kind, OddityKind::suffix);
  EXPECT_NE(index.oddities[1].what.find("'b.bin'"), std::string::npos);
}

TEST_F(ShardIndexTest, EqualKeysOfDifferentObjectsAreNoDuplicates) {
  EXPECT_NO_THROW((void)read(R"({"x":[{"w":1},{"w":1}],"w":{"w":{"w":1}},"weight_map":{"w":"a"}})"));
}

TEST_F(ShardIndexTest, NestingIsLimited) {
  const auto nested = [](std::size_t depth) {
    return R"({"x":)" + std::string(depth, '[') + std::string(depth, ']') + R"(,"weight_map":{"w":"a"}})";
  };
  EXPECT_NO_THROW((void)read(nested(126)));
  EXPECT_EQ(refusal(nested(127)).reason(), "objects and arrays are nested deeper than 127");
  EXPECT_EQ(refusal(R"({"x":)" + std::string(1'000'000, '[')).range(), (ByteRange{131, 132}));
}

TEST_F(ShardIndexTest, TextThatIsNotJsonIsRefusedWithItsPlace) {
  const auto error = refusal(R"({"weight_map":{"w":"a"},})");
  EXPECT_NE(error.reason().find("not valid JSON"), std::string::npos);
  EXPECT_EQ(error.range(), (ByteRange{24, 25}));
  EXPECT_EQ(refusal(R"({"weight_map")").range(), (ByteRange{13, 13}));
}

TEST_F(ShardIndexTest, InvalidUtf8IsRefused) {
  EXPECT_EQ(refusal("{\"weight_map\":{\"w\":\"\xFF\"}}").reason(), "the text is not valid UTF-8");
}

TEST_F(ShardIndexTest, AGitLfsPointerIsRecognized) {
  const auto error = refusal("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
  EXPECT_NE(error.reason().find("git-lfs pointer"), std::string::npos);
  EXPECT_NE(error.cure().find("git lfs pull"), std::string::npos);
}

TEST_F(ShardIndexTest, AnHtmlPageIsRecognized) {
  EXPECT_NE(refusal("<!DOCTYPE html><html></html>").reason().find("HTML"), std::string::npos);
}

TEST_F(ShardIndexTest, AnEmptyFileIsRefused) { EXPECT_EQ(refusal("").reason(), "the file is empty"); }

TEST_F(ShardIndexTest, AHugeIndexIsRefusedUnread) {
  const auto path = directory_.write("index.json", "");
  std::filesystem::resize_file(path, (std::uint64_t{256} << 20) + 1);
  const auto error = catch_error<FormatError>([&] { (void)read_shard_index(path); });
  EXPECT_NE(error.reason().find("268435457 bytes"), std::string::npos);
}

TEST_F(ShardIndexTest, AMissingIndexIsAnIoError) {
  const auto error = catch_error<IoError>([&] { (void)read_shard_index(directory_ / "none.json"); });
  EXPECT_EQ(error.system_error(), ENOENT);
}

}  // namespace
}  // namespace warpload
