#include "warpload/tensor_list.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "cpp/support/catch_error.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

static_assert(std::forward_iterator<TensorList::Iterator>);

Tensor named(const std::string& name, std::uint64_t elements = 1) {
  return {name, DType::u8, {elements}, std::shared_ptr<std::byte>(new std::byte{}), elements};
}

TEST(TensorListTest, IteratesOverNamesAndTensorsInOrder) {
  const TensorList list({named("b", 2), named("a", 1)});
  std::string names;
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : list) {
    names += name;
    bytes = 10 * bytes + tensor.nbytes();
  }
  EXPECT_EQ(names, "ba");
  EXPECT_EQ(bytes, 21U);
  EXPECT_EQ(list[0].name(), "b");
}

TEST(TensorListTest, FindReturnsTheTensorOrNullAndAtThrows) {
  const TensorList list({named("b", 2), named("a", 1)});
  EXPECT_EQ(list.find("a"), &list[1]);
  EXPECT_EQ(list.find("c"), nullptr);
  EXPECT_EQ(list.at("b").nbytes(), 2U);
  const auto error = testing::catch_error<InvalidArgumentError>([&] { static_cast<void>(list.at("c")); });
  EXPECT_EQ(error.tensor(), "c");
}

TEST(TensorListTest, FirstOfTwoTensorsWithOneNameIsFound) {
  const TensorList list({named("a", 1), named("a", 2)});
  EXPECT_EQ(list.find("a"), &list[0]);
}

TEST(TensorListTest, EmptyListHasNothing) {
  const TensorList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.begin(), list.end());
  EXPECT_EQ(list.find("a"), nullptr);
}

TEST(TensorListTest, CopiesShareTheTensorsWhichGoWithTheLastOfThem) {
  std::weak_ptr<std::byte> memory;
  TensorList copy;
  {
    const TensorList list({named("a")});
    memory = list[0].memory();
    copy = list;
    EXPECT_EQ(&copy[0], &list[0]);
  }
  EXPECT_FALSE(memory.expired());
  copy = {};
  EXPECT_TRUE(memory.expired());
}

TEST(TensorListTest, TensorOfAListThatGoesIsACopyThatKeepsItsMemory) {
  const auto make = [] { return TensorList({named("a"), named("b")}); };
  const Tensor& first = make()[0];
  const Tensor& second = make().at("b");
  EXPECT_EQ(first.name(), "a");
  EXPECT_EQ(*second.data(), std::byte{});
}

TEST(TensorListTest, BecomesAMapByName) {
  const TensorList list({named("b", 2), named("a", 1)});
  const std::map<std::string, Tensor> by_name(list.begin(), list.end());
  EXPECT_EQ(by_name.at("b").nbytes(), 2U);
}

}  // namespace
}  // namespace warpload
