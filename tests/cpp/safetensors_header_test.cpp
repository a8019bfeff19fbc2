#include "format/safetensors_header.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

using namespace std::string_literals;
using testing::catch_error;
using testing::length_bytes;
using testing::MemorySource;
using testing::safetensors_bytes;
using testing::safetensors_file;

SafetensorsHeader read(std::string_view bytes) { return read_safetensors_header(MemorySource(bytes)); }

SafetensorsHeader read_json(std::string_view header, std::size_t data_size = 0) {
  return read(safetensors_bytes(header, std::string(data_size, 'd')));
}

FormatError refusal(std::string_view bytes) {
  auto error = catch_error<FormatError>([&] { (void)read(bytes); });
  EXPECT_EQ(error.path(), "memory.safetensors");
  EXPECT_FALSE(error.cure().empty());
  EXPECT_TRUE(error.range().has_value());
  return error;
}

FormatError json_refusal(std::string_view header, std::size_t data_size = 0) {
  return refusal(safetensors_bytes(header, std::string(data_size, 'd')));
}

// The refusal of a file whose one tensor "w" has these fields.
FormatError tensor_refusal(const std::string& fields, std::size_t data_size = 4) {
  auto error = json_refusal(R"({"w":{)" + fields + "}}", data_size);
  EXPECT_EQ(error.tensor(), "w");
  return error;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string fields(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  const std::string text = entry(dtype, shape, offsets);
  return text.substr(1, text.size() - 2);
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::vector<std::string> names_of(const SafetensorsHeader& header) {
  std::vector<std::string> names;
  for (const HeaderTensor& tensor : header.tensors) names.push_back(tensor.name);
  return names;
}

// ---- what is accepted ----

TEST(SafetensorsHeaderTest, TensorsComeWithDTypeShapeAndAbsoluteRange) {
  const std::string bytes =
      safetensors_file({{"a", "F32", {2, 3}, std::string(24, 'a')}, {"b", "BF16", {}, std::string(2, 'b')}});
  const auto header = read(bytes);
  ASSERT_EQ(names_of(header), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(header.data_begin, bytes.size() - 26);
  EXPECT_EQ(header.tensors[0].dtype, DType::f32);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(header.tensors[0].range, (ByteRange{bytes.size() - 26, bytes.size() - 2}));
  EXPECT_EQ(header.tensors[1].dtype, DType::bf16);
  EXPECT_TRUE(header.tensors[1].shape.empty());
  EXPECT_EQ(header.tensors[1].range, (ByteRange{bytes.size() - 2, bytes.size()}));
  EXPECT_FALSE(header.metadata.has_value());
}

TEST(SafetensorsHeaderTest, TensorsAreOrderedByOffsetThenName) {
  const auto header =
      read_json("{\"z\":" + entry("U8", "[4]", "[0,4]") + ",\"c\":" + entry("U8", "[2]", "[4,6]") +
                    ",\"y\":" + entry("U8", "[0]", "[4,4]") + ",\"b\":" + entry("F32", "[0]", "[4,4]") + "}",
                6);
  EXPECT_EQ(names_of(header), (std::vector<std::string>{"z", "b", "y", "c"}));
}

TEST(SafetensorsHeaderTest, NoTensorsAndNoDataAreAllowed) {
  const auto header = read_json("{}");
  EXPECT_TRUE(header.tensors.empty());
  EXPECT_EQ(header.data_begin, 10U);
}

TEST(SafetensorsHeaderTest, MetadataAreKept) {
  const auto header = read_json(R"({"__metadata__":{"format":"pt","":"empty","x":"\u00e9\n"}})");
  EXPECT_EQ(header.metadata,
            (std::map<std::string, std::string>{{"", "empty"}, {"format", "pt"}, {"x", "\xC3\xA9\n"}}));
}

TEST(SafetensorsHeaderTest, NullMetadataAreNoMetadata) {
  EXPECT_FALSE(read_json(R"({"__metadata__":null})").metadata.has_value());
  EXPECT_TRUE(read_json(R"({"__metadata__":{}})").metadata->empty());
}

TEST(SafetensorsHeaderTest, OfMetadataOfOneKeyTheLastCount) {
  const auto header = read_json(R"({"__metadata__":{"a":"1","b":"x","\u0061":"2"}})");
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"a", "2"}, {"b", "x"}}));
  ASSERT_EQ(header.oddities.size(), 1U);
  EXPECT_EQ(describe(header.oddities[0]), "memory.safetensors: __metadata__ has the key 'a' twice, the last counts");
}

TEST(SafetensorsHeaderTest, UnknownFieldsAreSkippedWhateverTheyHold) {
  const auto header =
      read_json(R"({"w":{"x":[1,{"dtype":"U8","shape":[7]}],"dtype":"F32","strides":{"a":1,"a":[[2]]},"shape":[1],)"
                R"("data_offsets":[0,4],"strides":-2.5}})",
                4);
  EXPECT_EQ(header.tensors[0].dtype, DType::f32);
  EXPECT_EQ(header.tensors[0].shape, std::vector<std::uint64_t>{1});
  ASSERT_EQ(header.oddities.size(), 2U);
  EXPECT_EQ(describe(header.oddities[0]), "memory.safetensors: tensor 'w': its entry has the unknown field 'x'");
  EXPECT_EQ(header.oddities[1].what, "its entry has the unknown field 'strides'");
  EXPECT_EQ(header.oddities[1].more, 1U);
}

TEST(SafetensorsHeaderTest, AnEntryMayBeAnArrayOfItsFieldsValues) {
  const auto header =
      read_json(R"({"v":["F32",[2,1],[0,8]],"w":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})", 12);
  EXPECT_EQ(header.tensors[0].dtype, DType::f32);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<std::uint64_t>{2, 1}));
  EXPECT_EQ(header.tensors[0].range.size(), 8U);
  EXPECT_EQ(header.tensors[1].dtype, DType::u8);
  ASSERT_EQ(header.oddities.size(), 1U);
  EXPECT_EQ(header.oddities[0].tensor, "v");
  EXPECT_EQ(header.oddities[0].kind, OddityKind::header);
}

TEST(SafetensorsHeaderTest, ADTypeMayBeAnObjectOfNull) {
  for (const std::string json :
       {R"({"w":{"dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]}})", R"({"w":[{"F32":null},[1],[0,4]]})"}) {
    EXPECT_EQ(read_json(json, 4).tensors[0].dtype, DType::f32) << json;
    EXPECT_FALSE(read_json(json, 4).oddities.empty());
  }
}

TEST(SafetensorsHeaderTest, WhatWritersWriteIsNotOdd) {
  EXPECT_TRUE(read(safetensors_file({{"a", "F32", {1}, "abcd"}})).oddities.empty());
  EXPECT_TRUE(read_json(R"({"__metadata__":{"format":"pt"}})").oddities.empty());
}

TEST(SafetensorsHeaderTest, OddTensorsInAnyNumberTakeLittleMemory) {
  std::string json = "{";
  for (int index = 0; index < 5000; ++index) {
    const std::string name = '"' + std::to_string(index) + '"';
    json += (index == 0 ? "" : ",") + name + R"(:{"dtype":"U8","shape":[0],"data_offsets":[0,0],)" + name + ":0}";
  }
  const auto header = read_json(json + "}");
  EXPECT_LE(header.oddities.size(), 64U);
  std::size_t count = 0;
  for (const Oddity& oddity : header.oddities) count += 1 + oddity.more;
  EXPECT_EQ(count, 5000U);
}

TEST(SafetensorsHeaderTest, WhiteSpaceAroundTheObjectIsPadding) {
  EXPECT_NO_THROW((void)read_json("{}      "));
  EXPECT_NO_THROW((void)read_json("\t\n{}\r "));
}

TEST(SafetensorsHeaderTest, TheDataMayBeginAtAnyOffset) {
  for (std::size_t padding = 0; padding < 8; ++padding) {
    const std::string json = "{\"w\":" + entry("F64", "[1]", "[0,8]") + "}" + std::string(padding, ' ');
    EXPECT_EQ(read_json(json, 8).tensors[0].range.begin, 8 + json.size());
  }
}

TEST(SafetensorsHeaderTest, FieldsMayComeInAnyOrder) {
  EXPECT_NO_THROW((void)read_json(R"({"w":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}})", 4));
}

TEST(SafetensorsHeaderTest, TensorNamesMayBeAnything) {
  const auto header =
      read_json("{\"\":" + entry("U8", "[0]", "[0,0]") + ",\"\\u0000\\\"\":" + entry("U8", "[0]", "[0,0]") +
                ",\"dtype\":" + entry("U8", "[0]", "[0,0]") + "}");
  EXPECT_EQ(names_of(header), (std::vector<std::string>{"", "\0\""s, "dtype"}));
}

TEST(SafetensorsHeaderTest, EmptyTensorsMayStandAtEveryBoundary) {
  const auto header = read_json("{\"a\":" + entry("F32", "[0]", "[0,0]") + ",\"b\":" + entry("U8", "[3]", "[0,3]") +
                                    ",\"c\":" + entry("I64", "[7,0,9]", "[3,3]") + "}",
                                3);
  EXPECT_EQ(names_of(header), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(SafetensorsHeaderTest, EveryDTypeIsAccepted) {
  for (int index = 0; index < kDTypeCount; ++index) {
    const auto dtype = static_cast<DType>(index);
    const std::string name(dtype_name(dtype));
    const std::size_t bytes = dtype_bits(dtype);  // of eight elements
    const auto header = read_json("{\"w\":" + entry(name, "[2,4]", "[0," + std::to_string(bytes) + "]") + "}", bytes);
    EXPECT_EQ(header.tensors[0].dtype, dtype) << name;
  }
}

TEST(SafetensorsHeaderTest, ADimensionMayBeTheLargestInt64NextToZero) {
  const auto header = read_json("{\"w\":" + entry("U8", "[0,9223372036854775807]", "[0,0]") + "}");
  EXPECT_EQ(header.tensors[0].shape[1], 9223372036854775807U);
}

TEST(SafetensorsHeaderTest, NothingBehindTheHeaderIsRead) {
  const MemorySource source(safetensors_file({{"w", "U8", {100'000}, std::string(100'000, 'w')}}));
  const auto header = read_safetensors_header(source);
  EXPECT_EQ(source.byte_count(), header.data_begin);
  EXPECT_EQ(source.read_count(), 2U);
}

TEST(SafetensorsHeaderTest, AReadErrorPassesThrough) {
  const std::string bytes = safetensors_file({{"w", "U8", {1}, "w"}});
  for (std::uint64_t number = 0; number < 2; ++number) {
    const MemorySource source(bytes, {.fail_at_read = number});
    const auto error = catch_error<IoError>([&] { (void)read_safetensors_header(source); });
    EXPECT_EQ(error.system_error(), EIO);
  }
  const MemorySource shrunk(bytes, {.size_after_open = 20});
  EXPECT_THROW((void)read_safetensors_header(shrunk), IoError);
}

// ---- the length and the text of the header ----

TEST(SafetensorsHeaderTest, AnEmptyFileIsRefused) {
  const auto error = refusal("");
  EXPECT_EQ(error.reason(), "the file is empty");
  EXPECT_TRUE(contains(error.cure(), "download"));
}

TEST(SafetensorsHeaderTest, AFileShorterThanTheLengthIsRefused) {
  EXPECT_EQ(refusal("\x02\0\0\0\0\0\0"s).reason(), "the file has 7 bytes; a safetensors file has at least 8");
}

TEST(SafetensorsHeaderTest, AHeaderLengthOfZeroIsRefused) {
  EXPECT_EQ(refusal(length_bytes(0)).reason(), "the header's length is 0");
}

TEST(SafetensorsHeaderTest, AHeaderLengthAboveTheLimitIsRefused) {
  EXPECT_TRUE(contains(refusal(length_bytes(100'000'001) + "{}").reason(), "100000001 bytes, is above"));
  EXPECT_TRUE(contains(refusal(length_bytes(~std::uint64_t{0}) + "{}").reason(), "18446744073709551615"));
}

TEST(SafetensorsHeaderTest, AHeaderOfExactlyTheLimitIsNotTooLong) {
  EXPECT_TRUE(contains(refusal(length_bytes(100'000'000) + "{}").reason(), "truncated inside its header"));
}

TEST(SafetensorsHeaderTest, AFileThatEndsInsideItsHeaderIsTruncated) {
  const auto error = refusal(length_bytes(100) + "{\"a\"");
  EXPECT_TRUE(contains(error.reason(), "96 of the header's 100 bytes are missing"));
  EXPECT_EQ(error.range(), (ByteRange{12, 108}));
  EXPECT_TRUE(contains(error.cure(), "download"));
  EXPECT_TRUE(contains(refusal(length_bytes(1)).reason(), "truncated"));
}

TEST(SafetensorsHeaderTest, AHeaderThatIsNotUtf8IsRefusedWithItsPlace) {
  for (const std::string bad : {"\xFF", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC3"}) {
    const auto error = json_refusal(R"({"abcdefgh)" + bad + "\":0}");
    EXPECT_EQ(error.reason(), "the header is not valid UTF-8");
    EXPECT_EQ(error.range(), (ByteRange{18, 19}));
  }
}

TEST(SafetensorsHeaderTest, AHeaderThatIsNotJsonIsRefusedWithItsPlace) {
  const auto error = json_refusal(R"({"w" 1})");
  EXPECT_TRUE(contains(error.reason(), "the header is not valid JSON"));
  EXPECT_EQ(error.range(), (ByteRange{13, 14}));
  EXPECT_EQ(json_refusal("{").range(), (ByteRange{9, 9}));
  EXPECT_TRUE(contains(json_refusal("{'w':1}").reason(), "not valid JSON"));
  EXPECT_TRUE(contains(json_refusal("{\"a\nb\":1}").reason(), "not valid JSON"));
  EXPECT_TRUE(contains(json_refusal(R"({"\ud800":1})").reason(), "not valid JSON"));
  EXPECT_TRUE(contains(json_refusal("{/*comment*/}").reason(), "not valid JSON"));
  EXPECT_TRUE(contains(json_refusal("      ").reason(), "not valid JSON"));
}

TEST(SafetensorsHeaderTest, AHeaderThatIsNotAnObjectIsRefused) {
  for (const std::string json : {"[]", "  [1]", "\"text\"", "17", "null"}) {
    EXPECT_TRUE(contains(json_refusal(json).reason(), "does not start with '{'")) << json;
  }
}

TEST(SafetensorsHeaderTest, AByteOrderMarkIsRefused) {
  EXPECT_TRUE(contains(json_refusal("\xEF\xBB\xBF{}").reason(), "byte order mark"));
}

TEST(SafetensorsHeaderTest, GarbageAfterTheObjectIsRefused) {
  EXPECT_EQ(json_refusal("{} x").range(), (ByteRange{11, 12}));
  EXPECT_TRUE(contains(json_refusal("{}{}").reason(), "not valid JSON"));
  EXPECT_TRUE(contains(json_refusal("{}\x0B").reason(), "not valid JSON"));
}

TEST(SafetensorsHeaderTest, NulBytesAreNoPadding) {
  EXPECT_TRUE(contains(json_refusal("{}\0\0"s).reason(), "a NUL byte"));
  EXPECT_EQ(json_refusal("{}\0{\"hidden\":1}"s).range(), (ByteRange{10, 11}));
}

TEST(SafetensorsHeaderTest, DeepNestingIsRefused) {
  const auto nested = [](std::size_t depth) {
    return R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":)" + std::string(depth, '[') +
           std::string(depth, ']') + "}}";
  };
  EXPECT_NO_THROW((void)read_json(nested(125)));
  EXPECT_TRUE(contains(json_refusal(nested(126)).reason(), "nested deeper than 127"));
  EXPECT_NO_FATAL_FAILURE((void)json_refusal("{\"a\":" + std::string(1'000'000, '[')));
}

// ---- duplicates ----

TEST(SafetensorsHeaderTest, ADuplicateTensorIsRefusedAndNamed) {
  const auto error = json_refusal("{\"w\":" + entry("U8", "[4]", "[0,4]") + ",\"\\u0077\":1}", 4);
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_EQ(error.reason(), "duplicate key 'w'");
}

TEST(SafetensorsHeaderTest, ADuplicateFieldIsRefusedAndItsTensorNamed) {
  EXPECT_EQ(tensor_refusal(R"("dtype":"U8","shape":[4],"data_offsets":[0,4],"shape":[4])").reason(),
            "duplicate key 'shape'");
}

TEST(SafetensorsHeaderTest, MetadataThatComeTwiceAreRefused) {
  const auto error = json_refusal(R"({"__metadata__":{},"__metadata__":{}})");
  EXPECT_EQ(error.reason(), "duplicate key '__metadata__'");
  EXPECT_EQ(error.tensor(), "");
}

// ---- metadata and fields ----

TEST(SafetensorsHeaderTest, MetadataThatAreNotAnObjectOfStringsAreRefused) {
  for (const std::string value : {"[]", "\"x\"", "1", "true"}) {
    EXPECT_TRUE(contains(json_refusal("{\"__metadata__\":" + value + "}").reason(), "must be an object of strings"));
  }
  for (const std::string value : {"[]", "{}", "1", "null", "false"}) {
    const auto error = json_refusal("{\"__metadata__\":{\"key\":" + value + "}}");
    EXPECT_TRUE(contains(error.reason(), "the value of 'key' is not a string")) << value;
    EXPECT_EQ(error.tensor(), "");
  }
}

TEST(SafetensorsHeaderTest, AnEntryThatIsNotAnObjectIsRefused) {
  for (const std::string value : {"\"x\"", "1", "null", "true"}) {
    const auto error = json_refusal("{\"w\":" + value + "}", 4);
    EXPECT_EQ(error.tensor(), "w");
    EXPECT_TRUE(contains(error.reason(), "entry must be an object")) << value;
    EXPECT_EQ(error.range()->begin, 13U);
  }
}

TEST(SafetensorsHeaderTest, AnArrayOfOtherThanThreeElementsIsRefused) {
  EXPECT_EQ(json_refusal(R"({"w":[]})").reason(), "the field dtype is missing");
  EXPECT_EQ(json_refusal(R"({"w":["U8",[4]]})", 4).reason(), "the field data_offsets is missing");
  const auto error = json_refusal(R"({"w":["U8",[4],[0,4],{}]})", 4);
  EXPECT_EQ(error.tensor(), "w");
  EXPECT_EQ(error.reason(), "an entry that is an array must have three elements, found more");
  EXPECT_EQ(json_refusal(R"({"w":[[4],"U8",[0,4]]})", 4).reason(), "dtype must be a string, found an array");
}

TEST(SafetensorsHeaderTest, MissingFieldsAreRefusedAndNamed) {
  EXPECT_EQ(tensor_refusal("").reason(), "the field dtype is missing");
  EXPECT_EQ(tensor_refusal(R"("shape":[4],"data_offsets":[0,4])").reason(), "the field dtype is missing");
  EXPECT_EQ(tensor_refusal(R"("dtype":"U8","data_offsets":[0,4])").reason(), "the field shape is missing");
  EXPECT_EQ(tensor_refusal(R"("dtype":"U8","shape":[4])").reason(), "the field data_offsets is missing");
}

TEST(SafetensorsHeaderTest, FieldsOfAnEarlierTensorDoNotStandInForMissingOnes) {
  const auto error = json_refusal("{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":{}}", 4);
  EXPECT_EQ(error.reason(), "the field dtype is missing");
  EXPECT_EQ(error.tensor(), "b");
}

TEST(SafetensorsHeaderTest, MistypedFieldsAreRefused) {
  EXPECT_EQ(tensor_refusal(R"("dtype":3)").reason(), "dtype must be a string, found '3'");
  EXPECT_EQ(tensor_refusal(R"("dtype":["F32"])").reason(), "dtype must be a string, found an array");
  EXPECT_EQ(tensor_refusal(R"("dtype":null)").reason(), "dtype must be a string, found null");
  EXPECT_EQ(tensor_refusal(R"("shape":"[4]")").reason(), "shape must be an array, found a string");
  EXPECT_EQ(tensor_refusal(R"("shape":{})").reason(), "shape must be an array, found an object");
  EXPECT_EQ(tensor_refusal(R"("data_offsets":4)").reason(), "data_offsets must be an array, found '4'");
  EXPECT_EQ(tensor_refusal(R"("data_offsets":{})").reason(), "data_offsets must be an array, found an object");
}

TEST(SafetensorsHeaderTest, ADTypeThatIsAnotherObjectIsRefused) {
  const auto reason = [](const std::string& dtype) { return tensor_refusal("\"dtype\":" + dtype).reason(); };
  EXPECT_EQ(reason("{}"), "a dtype that is an object must have one key, found none");
  EXPECT_EQ(reason(R"({"F32":null,"F64":null})"), "a dtype that is an object must have one key, found more");
  EXPECT_EQ(reason(R"({"F32":null,"F32":null})"), "a dtype that is an object must have one key, found more");
  EXPECT_EQ(reason(R"({"F32":{}})"), "a dtype that is an object must be null at its key, found an object");
  EXPECT_EQ(reason(R"({"F32":0})"), "a dtype that is an object must be null at its key, found '0'");
  EXPECT_EQ(reason(R"({"F128":null})"), "unknown dtype 'F128'");
}

TEST(SafetensorsHeaderTest, AnUnknownDTypeIsRefusedAndNamed) {
  const auto error = tensor_refusal(fields("F128", "[1]", "[0,16]"), 16);
  EXPECT_EQ(error.reason(), "unknown dtype 'F128'");
  EXPECT_EQ(error.range(), (ByteRange{22, 28}));
  EXPECT_EQ(tensor_refusal(fields("f32", "[1]", "[0,4]")).reason(), "unknown dtype 'f32'");
}

// ---- shapes ----

TEST(SafetensorsHeaderTest, DimensionsThatAreNoSizesAreRefusedAndShown) {
  for (const std::string dimension : {"-1", "-0", "1.0", "1e0", "18446744073709551616"}) {
    EXPECT_EQ(tensor_refusal(fields("U8", "[" + dimension + "]", "[0,4]")).reason(),
              "a dimension must be an integer from 0 to 2^64 - 1, found '" + dimension + "'");
  }
  for (const std::string dimension : {"null", "\"4\"", "[4]", "{}", "true"}) {
    EXPECT_TRUE(contains(tensor_refusal(fields("U8", "[" + dimension + "]", "[0,4]")).reason(), "a dimension must"));
  }
}

TEST(SafetensorsHeaderTest, AShapeWhoseProductOverflowsIsRefused) {
  for (const std::string shape : {"[4294967296,4294967296]", "[4294967296,4294967296,0]", "[2305843009213693952]"}) {
    EXPECT_TRUE(contains(tensor_refusal(fields("U64", shape, "[0,4]")).reason(), "overflows 64 bits")) << shape;
  }
}

TEST(SafetensorsHeaderTest, AnEmptyTensorWhoseStridesOverflowIsRefused) {
  for (const std::string shape : {"[0,9223372036854775807,2]", "[0,2,4611686018427387904]", "[0,9223372036854775808]",
                                  "[18446744073709551615,0]"}) {
    const auto error = tensor_refusal(fields("F32", shape, "[0,0]"), 0);
    EXPECT_TRUE(contains(error.reason(), "no tensor can have the shape")) << shape;
    EXPECT_TRUE(contains(error.reason(), "below 2^63")) << shape;
  }
}

TEST(SafetensorsHeaderTest, AnEmptyTensorWhoseStridesWrapAroundIsAccepted) {
  for (const std::string shape : {"[0,4294967296,4294967296]", "[4294967296,0,4294967296]"}) {
    EXPECT_NO_THROW((void)read_json("{\"w\":" + entry("F32", shape, "[0,0]") + "}")) << shape;
  }
}

TEST(SafetensorsHeaderTest, PackedElementsThatDoNotFillBytesAreRefused) {
  EXPECT_EQ(tensor_refusal(fields("F4", "[3]", "[0,2]"), 2).reason(),
            "the elements of F4[3] do not fill whole bytes: 12 bits");
  EXPECT_TRUE(contains(tensor_refusal(fields("F6_E2M3", "[2]", "[0,2]"), 2).reason(), "whole bytes: 12 bits"));
  EXPECT_TRUE(contains(tensor_refusal(fields("F6_E3M2", "[5]", "[0,4]"), 4).reason(), "whole bytes: 30 bits"));
}

TEST(SafetensorsHeaderTest, PackedElementsThatFillBytesAreAccepted) {
  EXPECT_NO_THROW((void)read_json("{\"w\":" + entry("F4", "[2,3]", "[0,3]") + "}", 3));
  EXPECT_NO_THROW((void)read_json("{\"w\":" + entry("F6_E3M2", "[4]", "[0,3]") + "}", 3));
}

// ---- offsets ----

TEST(SafetensorsHeaderTest, OffsetsThatAreNotTwoIntegersAreRefused) {
  EXPECT_EQ(tensor_refusal(fields("U8", "[4]", "[]")).reason(), "data_offsets must have two numbers, found 0");
  EXPECT_EQ(tensor_refusal(fields("U8", "[4]", "[4]")).reason(), "data_offsets must have two numbers, found 1");
  EXPECT_EQ(tensor_refusal(fields("U8", "[4]", "[0,4,4]")).reason(), "data_offsets must have two numbers, found more");
  for (const std::string offset : {"-1", "0.0", "1e2", "18446744073709551616", "null", "\"0\"", "[0]"}) {
    EXPECT_TRUE(contains(tensor_refusal(fields("U8", "[4]", "[" + offset + ",4]")).reason(), "an offset must be"));
  }
}

TEST(SafetensorsHeaderTest, OffsetsThatEndBeforeTheyBeginAreRefused) {
  EXPECT_EQ(tensor_refusal(fields("U8", "[4]", "[4,0]")).reason(), "data_offsets end before they begin: 4 > 0");
}

TEST(SafetensorsHeaderTest, ASizeThatDoesNotMatchTheShapeIsRefusedAndBothAreTold) {
  EXPECT_EQ(tensor_refusal(fields("F32", "[2,3]", "[0,4]")).reason(),
            "F32[2, 3] takes 24 bytes, but data_offsets span 4");
  EXPECT_EQ(tensor_refusal(fields("F32", "[]", "[0,8]"), 8).reason(), "F32[] takes 4 bytes, but data_offsets span 8");
  EXPECT_TRUE(contains(tensor_refusal(fields("F32", "[0]", "[0,4]")).reason(), "takes 0 bytes"));
}

TEST(SafetensorsHeaderTest, OverlappingTensorsAreRefusedAndBothAreNamed) {
  const auto error =
      json_refusal("{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":" + entry("U8", "[4]", "[2,6]") + "}", 6);
  EXPECT_EQ(error.tensor(), "b");
  EXPECT_EQ(error.reason(), "its data overlap those of tensor 'a'");
  EXPECT_EQ(error.range()->size(), 2U);
}

TEST(SafetensorsHeaderTest, TensorsThatShareTheirDataAreRefused) {
  const auto error =
      json_refusal("{\"b\":" + entry("U8", "[4]", "[0,4]") + ",\"a\":" + entry("U8", "[4]", "[0,4]") + "}", 4);
  EXPECT_EQ(error.tensor(), "b");
  EXPECT_EQ(error.reason(), "its data overlap those of tensor 'a'");
}

TEST(SafetensorsHeaderTest, AnEmptyTensorInsideAnotherIsRefused) {
  const auto error =
      json_refusal("{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":" + entry("U8", "[0]", "[2,2]") + "}", 4);
  EXPECT_EQ(error.tensor(), "b");
  EXPECT_TRUE(contains(error.reason(), "overlap"));
}

TEST(SafetensorsHeaderTest, AHoleBetweenTensorsIsRefused) {
  const std::string json = "{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":" + entry("U8", "[2]", "[7,9]") + "}";
  const auto error = json_refusal(json, 9);
  EXPECT_EQ(error.tensor(), "b");
  EXPECT_EQ(error.reason(), "there is a hole of 3 bytes before its data");
  EXPECT_EQ(error.range(), (ByteRange{8 + json.size() + 4, 8 + json.size() + 7}));
}

TEST(SafetensorsHeaderTest, AHoleBeforeTheFirstTensorIsRefused) {
  EXPECT_EQ(tensor_refusal(fields("U8", "[4]", "[2,6]"), 6).reason(), "there is a hole of 2 bytes before its data");
  EXPECT_TRUE(contains(tensor_refusal(fields("U8", "[0]", "[1,1]"), 1).reason(), "hole of 1 bytes"));
}

TEST(SafetensorsHeaderTest, BytesAfterTheLastTensorAreRefused) {
  const std::string json = "{\"w\":" + entry("U8", "[4]", "[0,4]") + "}";
  const auto error = json_refusal(json, 7);
  EXPECT_EQ(error.reason(), "3 bytes follow the last tensor and belong to none");
  EXPECT_EQ(error.range(), (ByteRange{8 + json.size() + 4, 8 + json.size() + 7}));
  EXPECT_TRUE(contains(json_refusal("{}", 1).reason(), "1 bytes follow"));
}

TEST(SafetensorsHeaderTest, ATruncatedFileTellsHowMuchIsMissingAndTheFirstTensorThatIsCut) {
  const std::string json = "{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":" + entry("U8", "[4]", "[4,8]") +
                           ",\"c\":" + entry("U8", "[4]", "[8,12]") + "}";
  const auto error = json_refusal(json, 5);
  EXPECT_EQ(error.reason(), "the file is truncated: 7 bytes are missing at its end");
  EXPECT_EQ(error.tensor(), "b");
  EXPECT_EQ(error.range(), (ByteRange{8 + json.size() + 5, 8 + json.size() + 12}));
  EXPECT_TRUE(contains(error.cure(), "download the file again"));
}

TEST(SafetensorsHeaderTest, OffsetsNearTheEndOfTheNumberRangeDoNotWrapAround) {
  const auto error = tensor_refusal(fields("U8", "[0]", "[18446744073709551615,18446744073709551615]"), 0);
  EXPECT_TRUE(contains(error.reason(), "hole of 18446744073709551615 bytes"));
  EXPECT_LE(error.range()->begin, error.range()->end);
  EXPECT_TRUE(contains(tensor_refusal(fields("U8", "[2305843009213693951]", "[0,2305843009213693951]"), 4).reason(),
                       "2305843009213693947 bytes are missing"));
}

// ---- other kinds of file ----

TEST(SafetensorsHeaderTest, AGitLfsPointerIsRecognized) {
  const auto error = refusal("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
  EXPECT_TRUE(contains(error.reason(), "git-lfs pointer"));
  EXPECT_TRUE(contains(error.cure(), "git lfs pull"));
}

TEST(SafetensorsHeaderTest, AZipArchiveIsRecognized) {
  const auto error = refusal("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl"s);
  EXPECT_TRUE(contains(error.reason(), "zip"));
  EXPECT_TRUE(contains(error.cure(), "torch.load"));
  // Without version and flags its first bytes are a possible header length, 67324752.
  EXPECT_TRUE(contains(refusal("PK\x03\x04\0\0\0\0\x08\x08 more"s).reason(), "zip"));
}

TEST(SafetensorsHeaderTest, APickleIsRecognized) {
  EXPECT_TRUE(contains(refusal("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j"s).reason(), "pickle"));
  EXPECT_TRUE(contains(refusal("\x80\x04\x95\x01\0\0\0\0\0\0\0\0N."s).reason(), "pickle"));
  EXPECT_TRUE(contains(refusal("\x80\x05N."s).reason(), "pickle"));
}

TEST(SafetensorsHeaderTest, ADownloadedPageIsRecognized) {
  EXPECT_TRUE(contains(refusal("<!DOCTYPE html><html></html>").reason(), "HTML"));
  EXPECT_TRUE(contains(refusal("<a/>").reason(), "HTML"));
  EXPECT_TRUE(contains(refusal(R"({"error":"not found"})").reason(), "JSON text"));
  EXPECT_TRUE(contains(refusal("{}").reason(), "JSON text"));
}

TEST(SafetensorsHeaderTest, AHeaderLengthThatLooksLikeAnotherKindOfFileIsStillAHeaderLength) {
  // 0x0280, 0x3C and 0x7B are the first bytes of a pickle, of a page and of JSON text.
  for (const std::size_t length : {std::size_t{0x0280}, std::size_t{0x3C}, std::size_t{0x7B}}) {
    EXPECT_NO_THROW((void)read_json("{}" + std::string(length - 2, ' ')));
    EXPECT_TRUE(contains(refusal(length_bytes(length) + "{").reason(), "truncated"));
    EXPECT_TRUE(contains(refusal(length_bytes(length)).reason(), "truncated"));
    EXPECT_TRUE(contains(json_refusal("{,}" + std::string(length - 3, ' ')).reason(), "not valid JSON"));
  }
}

TEST(SafetensorsHeaderTest, ADamagedHeaderIsNotTakenForTextBecauseOfItsLength) {
  for (const std::size_t length : {std::size_t{0x3C}, std::size_t{0x7B}}) {
    EXPECT_TRUE(contains(json_refusal(std::string(length, 'x')).reason(), "not valid JSON"));
  }
}

// ---- messages ----

TEST(SafetensorsHeaderTest, TextFromTheFileIsShownEscapedAndCut) {
  const auto error = tensor_refusal(R"("dtype":")" + std::string(119, 'x') + "\xC3\xA9\xC3\xA9\"");
  EXPECT_EQ(error.reason(), "unknown dtype '" + std::string(119, 'x') + "...'");
  EXPECT_EQ(tensor_refusal(R"("dtype":"\u001b[31m\u007f")").reason(), R"(unknown dtype '\x1b[31m\x7f')");
}

TEST(SafetensorsHeaderTest, AWrongTokenOfManyMegabytesGivesAShortMessage) {
  EXPECT_LT(json_refusal("{\"" + std::string(5'000'000, 'x')).reason().size(), 500U);
}

}  // namespace
}  // namespace warpload
