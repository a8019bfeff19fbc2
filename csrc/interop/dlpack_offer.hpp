// A tensor that lies in a capsule until somebody takes it.
#pragma once

#include <atomic>
#include <memory>

#include "interop/dlpack_abi.hpp"
#include "warpload/tensor.hpp"

namespace warpload {

// One exported tensor with two holders, the capsule and whoever consumes it. The memory goes exactly once, whichever of
// them ends first, and even where both believe that it is theirs to end: torch's from_dlpack runs the deleter and
// throws, and its capsule, which still has its first name, runs it again.
//
//   capsule ----- share ----+
//                           +--> DlpackOffer --> the export, which holds the memory until the first deleter
//   consumer ---- share ----+
class DlpackOffer {
 public:
  // The capsule's end of an offer that never got into one.
  struct Withdraw {
    void operator()(DlpackOffer* offer) const noexcept { offer->end_capsule(false); }
  };
  using Ptr = std::unique_ptr<DlpackOffer, Withdraw>;

  // Throws what to_dlpack throws.
  [[nodiscard]] static Ptr make(const Tensor& tensor);

  DlpackOffer(const DlpackOffer&) = delete;
  DlpackOffer& operator=(const DlpackOffer&) = delete;

  // What the capsule shows. Its deleter may be called on any thread, once after the capsule's end and as often as
  // anybody likes before it.
  [[nodiscard]] dlpack_abi::ManagedTensor& tensor() noexcept { return abi_; }

  // To be called once, when the capsule dies. `taken`: a consumer has said that the tensor is its own.
  void end_capsule(bool taken) noexcept;

 private:
  explicit DlpackOffer(const Tensor& tensor);
  ~DlpackOffer() = default;

  void end_tensor() noexcept;
  void release_share() noexcept;

  dlpack_abi::ManagedTensor* exported_;
  dlpack_abi::ManagedTensor abi_;
  std::atomic<bool> ended_{false};
  std::atomic<int> shares_{2};
};

}  // namespace warpload
