#include "format/gguf_header.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/claimed_source.hpp"
#include "cpp/support/gguf_bytes.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "warpload/checkpoint.hpp"

namespace warpload {
namespace {

using namespace testing;
using namespace std::string_literals;

GgufHeader read(std::string_view bytes) { return read_gguf_header(MemorySource(bytes)); }

FormatError refusal(std::string_view bytes) {
  auto error = catch_error<FormatError>([&] { (void)read(bytes); });
  EXPECT_EQ(error.path(), "memory.safetensors");
  EXPECT_FALSE(error.cure().empty());
  EXPECT_TRUE(error.range().has_value());
  return error;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// The reason why a file of these parts is refused.
std::string reason_of(const GgufParts& parts) { return refusal(gguf_bytes(parts)).reason(); }

// The same for a file whose one tensor "w" has this entry, which the error names.
FormatError tensor_refusal(const std::string& entry, std::size_t data_size = 64) {
  auto error = refusal(gguf_bytes({.tensors = {entry}, .data = std::string(data_size, 'd')}));
  EXPECT_EQ(error.tensor(), "w");
  return error;
}

std::map<std::string, std::string> metadata_of(const std::vector<std::string>& pairs) {
  return read(gguf_bytes({.pairs = pairs})).metadata;
}

// ---- what is accepted ----

TEST(GgufHeaderTest, TensorsComeWithDTypeShapeAndAbsoluteRangeTheSlowestAxisFirst) {
  const std::string bytes =
      gguf_bytes({.tensors = {gguf_entry("a", {3, 2}, kGgmlF32, 0), gguf_entry("b", {}, kGgmlBf16, 32)},
                  .data = std::string(34, 'd')});
  const GgufHeader header = read(bytes);
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.data_begin, bytes.size() - 34);
  EXPECT_EQ(header.tensors[0].dtype, DType::f32);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(header.tensors[0].range, (ByteRange{bytes.size() - 34, bytes.size() - 10}));
  EXPECT_EQ(header.tensors[1].dtype, DType::bf16);
  EXPECT_TRUE(header.tensors[1].shape.empty());
  EXPECT_EQ(header.tensors[1].range, (ByteRange{bytes.size() - 2, bytes.size()}));
}

TEST(GgufHeaderTest, AQuantisedTensorHasTheShapeOfItsBytesAndItsType) {
  const GgufHeader header =
      read(gguf_bytes({.tensors = {gguf_entry("w", {64, 3}, kGgmlQ4_0, 0)}, .data = std::string(108, 'd')}));
  const HeaderTensor& tensor = header.tensors.at(0);
  EXPECT_EQ(tensor.dtype, DType::u8);
  EXPECT_EQ(tensor.blocks, BlockType::q4_0);
  EXPECT_EQ(tensor.shape, (std::vector<std::uint64_t>{3, 36}));
  EXPECT_EQ(tensor.range.size(), 108U);
  const TensorInfo info{.name = "w", .dtype = tensor.dtype, .shape = tensor.shape, .blocks = tensor.blocks};
  EXPECT_EQ(element_shape(info), (std::vector<std::uint64_t>{3, 64}));
}

TEST(GgufHeaderTest, EveryTypeOfGgmlIsKnownAndNoOther) {
  const std::map<std::uint32_t, DType> plain{{0, DType::f32},  {1, DType::f16},  {24, DType::i8},  {25, DType::i16},
                                             {26, DType::i32}, {27, DType::i64}, {28, DType::f64}, {30, DType::bf16}};
  const std::vector<std::uint32_t> given_up{4, 5, 31, 32, 33, 36, 37, 38, 42, 255, 4'294'967'295};
  for (std::uint32_t number = 0; number < 42; ++number) {
    if (std::find(given_up.begin(), given_up.end(), number) != given_up.end()) continue;
    const GgufHeader header =
        read(gguf_bytes({.tensors = {gguf_entry("w", {256}, number, 0)}, .data = std::string(2048, 'd')}));
    const auto found = plain.find(number);
    EXPECT_EQ(header.tensors[0].blocks.has_value(), found == plain.end()) << number;
    EXPECT_EQ(header.tensors[0].dtype, found == plain.end() ? DType::u8 : found->second) << number;
    if (found != plain.end()) continue;
    EXPECT_EQ(static_cast<std::uint32_t>(*header.tensors[0].blocks), number);
  }
  for (const std::uint32_t number : given_up) {
    EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {256}, number, 0)).reason(), "unknown type")) << number;
  }
}

TEST(GgufHeaderTest, VersionsTwoAndThreeAreRead) {
  EXPECT_TRUE(read(gguf_bytes({.version = 2})).tensors.empty());
  EXPECT_TRUE(read(gguf_bytes({.version = 3})).tensors.empty());
}

TEST(GgufHeaderTest, TheAlignmentOfTheMetadataSaysWhereTheDataBegin) {
  GgufParts parts{.pairs = {gguf_pair("general.alignment", kGgufU32, gguf_number<std::uint32_t>(256))},
                  .tensors = {gguf_entry("a", {1}, kGgmlF32, 0), gguf_entry("b", {1}, kGgmlF32, 256)},
                  .data = std::string(260, 'd'),
                  .alignment = 256};
  const GgufHeader header = read(gguf_bytes(parts));
  EXPECT_EQ(header.data_begin, 256U);
  EXPECT_EQ(header.tensors[1].range, (ByteRange{512, 516}));
  parts.tensors[1] = gguf_entry("b", {1}, kGgmlF32, 32);
  EXPECT_TRUE(contains(reason_of(parts), "no multiple of the alignment 256"));
}

TEST(GgufHeaderTest, NumbersTruthValuesAndStringsAreKeptAsText) {
  const auto values = metadata_of(
      {gguf_pair("u8", 0, "\xFF"), gguf_pair("i8", 1, "\xFF"), gguf_pair("u16", 2, "\xFF\xFF"),
       gguf_pair("i16", 3, "\xFF\xFF"), gguf_pair("u32", 4, "\xFF\xFF\xFF\xFF"),
       gguf_pair("i32", 5, "\xFF\xFF\xFF\xFF"), gguf_pair("f32", 6, gguf_number<std::uint32_t>(0x3FC00000)),
       gguf_pair("yes", 7, "\x01"), gguf_pair("no", 7, "\0"s), gguf_pair("text", kGgufString, gguf_string("flux")),
       gguf_pair("u64", 10, std::string(8, '\xFF')), gguf_pair("i64", 11, std::string(8, '\xFF')),
       gguf_pair("f64", 12, gguf_number<std::uint64_t>(0xBFE0000000000000))});
  EXPECT_EQ(values, (std::map<std::string, std::string>{{"u8", "255"},
                                                        {"i8", "-1"},
                                                        {"u16", "65535"},
                                                        {"i16", "-1"},
                                                        {"u32", "4294967295"},
                                                        {"i32", "-1"},
                                                        {"f32", "1.5"},
                                                        {"yes", "true"},
                                                        {"no", "false"},
                                                        {"text", "flux"},
                                                        {"u64", "18446744073709551615"},
                                                        {"i64", "-1"},
                                                        {"f64", "-0.5"}}));
}

TEST(GgufHeaderTest, ArraysAndStringsThatAreNoTextArePassedOver) {
  const auto array = [](std::uint32_t type, std::uint64_t count, const std::string& elements) {
    return gguf_number(type) + gguf_number(count) + elements;
  };
  const auto values =
      metadata_of({gguf_pair("words", kGgufArray, array(kGgufString, 2, gguf_string("a") + gguf_string(""))),
                   gguf_pair("numbers", kGgufArray, array(kGgufU32, 3, std::string(12, 'n'))),
                   gguf_pair("nested", kGgufArray, array(kGgufArray, 2, array(0, 1, "x") + array(kGgufString, 0, ""))),
                   gguf_pair("no text", kGgufString, gguf_string("\xFF")),
                   gguf_pair("long", kGgufString, gguf_string(std::string(65'537, 'l'))),
                   gguf_pair("last", kGgufString, gguf_string("read"))});
  EXPECT_EQ(values, (std::map<std::string, std::string>{{"last", "read"}}));
}

TEST(GgufHeaderTest, HolesBytesBehindTheLastTensorAndEmptyTensorsAreTaken) {
  const GgufHeader header = read(
      gguf_bytes({.tensors = {gguf_entry("late", {1}, kGgmlF32, 128), gguf_entry("early", {1}, kGgmlF32, 0),
                              gguf_entry("empty", {0, 5}, kGgmlF16, 64), gguf_entry("nowhere", {0}, kGgmlQ8_0, 3200)},
                  .data = std::string(200, 'd')}));
  std::vector<std::string> names;
  for (const HeaderTensor& tensor : header.tensors) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"early", "empty", "late", "nowhere"}));
  EXPECT_EQ(header.tensors[1].shape, (std::vector<std::uint64_t>{5, 0}));
}

TEST(GgufHeaderTest, ALongHeaderIsReadPieceByPiece) {
  std::vector<std::string> entries;
  for (std::uint64_t index = 0; index < 3000; ++index) {
    entries.push_back(
        gguf_entry("tensor." + std::string(index % 97, 'n') + std::to_string(index), {8}, kGgmlF32, 32 * index));
  }
  const MemorySource source(gguf_bytes({.tensors = entries, .data = std::string(96'000, 'd')}));
  const GgufHeader header = read_gguf_header(source);
  ASSERT_EQ(header.tensors.size(), 3000U);
  EXPECT_EQ(header.tensors[2999].name, "tensor." + std::string(2999 % 97, 'n') + "2999");
  EXPECT_LE(source.byte_count(), header.data_begin + 2 * 65'536);
}

TEST(GgufHeaderTest, ACheckpointTellsTheFormatByContentAndMayMixBoth) {
  const auto gguf = std::make_shared<MemorySource>(
      gguf_bytes({.pairs = {gguf_pair("general.architecture", kGgufString, gguf_string("flux"))},
                  .tensors = {gguf_entry("w", {32}, kGgmlQ8_0, 0)},
                  .data = std::string(34, 'd')}));
  const auto other = std::make_shared<MemorySource>(safetensors_file({{"v", "F32", {1}, "dddd"}}));
  const auto checkpoint = Checkpoint::from_sources({gguf, other});
  EXPECT_EQ(checkpoint->format(0), FileFormat::gguf);
  EXPECT_EQ(checkpoint->format(1), FileFormat::safetensors);
  EXPECT_EQ(checkpoint->find("w")->blocks, BlockType::q8_0);
  EXPECT_FALSE(checkpoint->find("v")->blocks.has_value());
  EXPECT_EQ(checkpoint->metadata(0)->at("general.architecture"), "flux");
}

// ---- what is refused ----

TEST(GgufHeaderTest, OtherVersionsAreRefusedAndTheOtherByteOrderIsNamed) {
  for (const std::uint32_t version : {0U, 1U, 4U, 65'535U}) {
    EXPECT_TRUE(contains(reason_of({.version = version}), "version " + std::to_string(version)));
  }
  const FormatError error = refusal(gguf_bytes({.version = 0x03000000}));
  EXPECT_TRUE(contains(error.reason(), "big endian"));
  EXPECT_TRUE(contains(error.cure(), "gguf-convert-endian"));
  EXPECT_EQ(error.range(), (ByteRange{4, 8}));
}

TEST(GgufHeaderTest, AFileCutAnywhereInItsHeaderIsRefused) {
  const GgufParts parts{
      .pairs = {gguf_pair("general.alignment", kGgufU32, gguf_number<std::uint32_t>(32)),
                gguf_pair("text", kGgufString, gguf_string("flux")),
                gguf_pair("list", kGgufArray,
                          gguf_number(kGgufString) + gguf_number<std::uint64_t>(1) + gguf_string("one"))},
      .tensors = {gguf_entry("w", {4, 2}, kGgmlF32, 0)}};
  const std::string header = gguf_header_of(parts);
  for (std::size_t size = 4; size < header.size(); ++size) {
    const FormatError error = refusal(std::string_view(header).substr(0, size));
    EXPECT_GE(error.range()->end, error.range()->begin) << size;
  }
}

TEST(GgufHeaderTest, CountsThatTheFileIsTooSmallForAreRefusedBeforeMemoryIsTaken) {
  const std::string begin = "GGUF" + gguf_number<std::uint32_t>(3);
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t count : {std::uint64_t{1} << 20, kMost}) {
    EXPECT_TRUE(contains(refusal(begin + gguf_number(count) + gguf_number<std::uint64_t>(0)).reason(), "too small"));
    EXPECT_TRUE(contains(refusal(begin + gguf_number<std::uint64_t>(0) + gguf_number(count)).reason(), "too small"));
    const std::string list = gguf_number(kGgufU32) + gguf_number(count);
    EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("list", kGgufArray, list)}}), "too small"));
    EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("s", kGgufString, gguf_number(count))}}), "too small"));
    EXPECT_TRUE(contains(reason_of({.pairs = {gguf_number(count)}}), "too small"));
  }
}

TEST(GgufHeaderTest, BadMetadataIsRefusedByItsKey) {
  EXPECT_TRUE(
      contains(reason_of({.pairs = {gguf_pair("k", 0, "x"), gguf_pair("k", 0, "y")}}), "'k': the key comes twice"));
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("k", 13, "x")}}), "'k': unknown type of value 13"));
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("\xFF", 0, "x")}}), "UTF-8"));
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair(std::string(65'536, 'k'), 0, "x")}}), "more than 65535"));
  const std::string unknown = gguf_number<std::uint32_t>(99) + gguf_number<std::uint64_t>(0);
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("k", kGgufArray, unknown)}}), "unknown type of value 99"));
  std::string deep = gguf_number<std::uint32_t>(0) + gguf_number<std::uint64_t>(0);
  for (int depth = 0; depth < 8; ++depth) deep = gguf_number(kGgufArray) + gguf_number<std::uint64_t>(1) + deep;
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("k", kGgufArray, deep)}}), "more than 8 deep"));
}

TEST(GgufHeaderTest, AnAlignmentThatIsNoneIsRefused) {
  for (const std::uint32_t alignment : {0U, 1U, 4U, 24U, 33U}) {
    const std::string pair = gguf_pair("general.alignment", kGgufU32, gguf_number(alignment));
    EXPECT_TRUE(contains(reason_of({.pairs = {pair}}), "power of two")) << alignment;
  }
  EXPECT_TRUE(contains(reason_of({.pairs = {gguf_pair("general.alignment", 10, gguf_number<std::uint64_t>(32))}}),
                       "unsigned integer of 32 bits"));
}

TEST(GgufHeaderTest, TwoTensorsOfOneNameAreRefused) {
  const std::string entry = gguf_entry("w", {1}, kGgmlF32, 0);
  EXPECT_TRUE(contains(reason_of({.tensors = {entry, entry}, .data = "dddd"}), "two tensors have this name"));
}

TEST(GgufHeaderTest, ShapesThatNoTensorCanHaveAreRefused) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {kHuge, kHuge}, kGgmlF32, 0)).reason(), "overflows"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {kHuge}, kGgmlF32, 0)).reason(), "overflows"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {std::uint64_t{1} << 63, 0}, kGgmlF32, 0)).reason(), "2^63"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", std::vector<std::uint64_t>(65, 1), kGgmlF32, 0)).reason(), "64"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {33}, kGgmlQ8_0, 0)).reason(), "no whole blocks of Q8_0"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {}, kGgmlQ8_0, 0)).reason(), "no whole blocks of Q8_0"));
}

TEST(GgufHeaderTest, TensorsOutsideOfTheFileOrOverOneAnotherAreRefused) {
  const FormatError cut = tensor_refusal(gguf_entry("w", {17}, kGgmlF32, 0), 64);
  EXPECT_TRUE(contains(cut.reason(), "truncated: 4 bytes"));
  EXPECT_EQ(cut.range()->size(), 4U);
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {1}, kGgmlF32, 64), 64).reason(), "truncated"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {8}, kGgmlF32, ~std::uint64_t{31}), 64).reason(), "above 2^64"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {1}, kGgmlF32, ~std::uint64_t{63}), 64).reason(), "above 2^64"));
  EXPECT_TRUE(contains(tensor_refusal(gguf_entry("w", {1}, kGgmlF32, 4), 64).reason(), "alignment"));
  EXPECT_TRUE(contains(reason_of({.tensors = {gguf_entry("v", {9}, kGgmlF32, 0), gguf_entry("w", {1}, kGgmlF32, 32)},
                                  .data = std::string(64, 'd')}),
                       "overlap those of tensor 'v'"));
}

TEST(GgufHeaderTest, AFileThatIsOnlyCalledSoIsRefusedForWhatItIs) {
  const auto refusal_of = [](const std::string& bytes) {
    const auto source = std::make_shared<MemorySource>(bytes, MemorySource::Options{.path = "model.gguf"});
    return catch_error<FormatError>([&] { (void)Checkpoint::from_sources({source}); });
  };
  EXPECT_TRUE(contains(refusal_of("version https://git-lfs.github.com/spec/v1\n").cure(), "git lfs pull"));
  EXPECT_TRUE(contains(refusal_of("").reason(), "empty"));
  EXPECT_TRUE(contains(refusal_of("lmgg" + std::string(40, 'x')).reason(), "does not begin with GGUF"));
}

TEST(GgufHeaderTest, AFileThatCannotBeReadIsAnIoError) {
  const MemorySource source(gguf_bytes({}), {.fail_at_read = 0, .system_error = EIO});
  EXPECT_EQ(catch_error<IoError>([&] { (void)read_gguf_header(source); }).system_error(), EIO);
}

}  // namespace
}  // namespace warpload
