#include "interop/dlpack_offer.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <thread>
#include <utility>

#include "cpp/support/catch_error.hpp"
#include "warpload/error.hpp"

namespace warpload {
namespace {

// A tensor whose memory counts how often it is released.
class DlpackOfferTest : public ::testing::Test {
 protected:
  DlpackOffer::Ptr offer() {
    std::shared_ptr<std::byte> memory(bytes_, [this](std::byte*) { ++given_back_; });
    return DlpackOffer::make(Tensor("weight", DType::u8, {4}, std::move(memory), 4));
  }

  static void run_deleter(dlpack_abi::ManagedTensor& tensor) { tensor.deleter(&tensor); }

  [[nodiscard]] int given_back() const { return given_back_; }
  [[nodiscard]] const std::byte* bytes() const { return bytes_; }

 private:
  std::byte bytes_[4]{};
  int given_back_ = 0;
};

TEST_F(DlpackOfferTest, ShowsTheTensor) {
  const DlpackOffer::Ptr shown = offer();
  EXPECT_EQ(shown->tensor().tensor.data, bytes());
  ASSERT_EQ(shown->tensor().tensor.ndim, 1);
  EXPECT_EQ(shown->tensor().tensor.shape[0], 4);
  EXPECT_EQ(shown->tensor().tensor.strides[0], 1);
}

TEST_F(DlpackOfferTest, ACapsuleThatNobodyTookGivesTheMemoryBack) {
  offer().release()->end_capsule(false);
  EXPECT_EQ(given_back(), 1);
}

TEST_F(DlpackOfferTest, AConsumerKeepsTheMemoryBeyondTheCapsule) {
  DlpackOffer* const taken = offer().release();
  dlpack_abi::ManagedTensor& tensor = taken->tensor();
  taken->end_capsule(true);
  EXPECT_EQ(given_back(), 0);
  run_deleter(tensor);
  EXPECT_EQ(given_back(), 1);
}

TEST_F(DlpackOfferTest, AConsumerMayEndBeforeTheCapsuleThatItRenamed) {
  DlpackOffer* const taken = offer().release();
  run_deleter(taken->tensor());
  EXPECT_EQ(given_back(), 1);
  taken->end_capsule(true);
  EXPECT_EQ(given_back(), 1);
}

// As torch's from_dlpack does where it throws.
TEST_F(DlpackOfferTest, AConsumerThatRunsTheDeleterAndLeavesTheCapsuleAsItIsFreesOnce) {
  DlpackOffer* const refused = offer().release();
  run_deleter(refused->tensor());
  EXPECT_EQ(given_back(), 1);
  run_deleter(refused->tensor());
  refused->end_capsule(false);
  EXPECT_EQ(given_back(), 1);
}

TEST_F(DlpackOfferTest, WhatNeverGetsIntoACapsuleIsGivenBack) {
  offer().reset();
  EXPECT_EQ(given_back(), 1);
}

TEST_F(DlpackOfferTest, TwoThreadsMayEndItAtOnce) {
  for (int round = 0; round < 200; ++round) {
    DlpackOffer* const shared = offer().release();
    std::thread consumer([&tensor = shared->tensor()] { run_deleter(tensor); });
    shared->end_capsule(true);
    consumer.join();
    ASSERT_EQ(given_back(), round + 1);
  }
}

TEST_F(DlpackOfferTest, ATensorThatCannotBeDescribedIsNotOffered) {
  const Tensor tensor("weight", DType::f32, {0, std::uint64_t{1} << 62, 2}, nullptr, 0);
  EXPECT_EQ(testing::catch_error<InvalidArgumentError>([&] { static_cast<void>(DlpackOffer::make(tensor)); }).tensor(),
            "weight");
}

}  // namespace
}  // namespace warpload
