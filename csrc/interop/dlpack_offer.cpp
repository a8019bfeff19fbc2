#include "interop/dlpack_offer.hpp"

#include "warpload/dlpack.hpp"

namespace warpload {

DlpackOffer::Ptr DlpackOffer::make(const Tensor& tensor) { return Ptr(new DlpackOffer(tensor)); }

DlpackOffer::DlpackOffer(const Tensor& tensor)
    : exported_(reinterpret_cast<dlpack_abi::ManagedTensor*>(to_dlpack(tensor))), abi_(*exported_) {
  abi_.manager_context = this;
  abi_.deleter = [](dlpack_abi::ManagedTensor* self) {
    static_cast<DlpackOffer*>(self->manager_context)->end_tensor();
  };
}

void DlpackOffer::end_capsule(bool taken) noexcept {
  if (!taken) end_tensor();
  release_share();
}

void DlpackOffer::end_tensor() noexcept {
  if (ended_.exchange(true)) return;
  exported_->deleter(exported_);
  release_share();
}

void DlpackOffer::release_share() noexcept {
  if (shares_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

}  // namespace warpload
