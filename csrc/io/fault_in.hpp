// Page faults taken ahead, many at once.
#pragma once

#include <cstddef>
#include <span>

namespace warpload {

// Has the pages of mapped memory backed for reading, as touching them would. Returns 0, or the errno that says why they
// cannot be had: where touching them would raise a signal, as the file became shorter, it is EFAULT or EHWPOISON;
// EINVAL where the kernel does not know the request (before Linux 5.14), so that nothing has been done.
[[nodiscard]] int fault_in(std::span<const std::byte> bytes) noexcept;

}  // namespace warpload
