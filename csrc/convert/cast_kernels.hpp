// The casts of cast.hpp as CUDA kernels, embedded in the core when nvcc was there to build them. Nothing here needs a
// GPU or links to CUDA: the image is data, for the driver's cuModuleLoadData.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "warpload/dtype.hpp"

namespace warpload {

// An image for cuModuleLoadData (a "fatbin": machine code for several GPUs, and PTX for newer ones), of static storage
// and aligned to 16 bytes; empty when the core was built without nvcc. A driver may still refuse it, if it is older
// than the nvcc of the build or its GPU is older than compute capability 7.5: whoever loads it must have another way.
[[nodiscard]] std::span<const std::byte> embedded_cast_kernels() noexcept;

// The kernel's name in the image, "warpload_cast_bf16_f32"; empty when is_cast_supported says no. Its parameters are
//   const void* source, void* destination, unsigned long long count
// with each pointer aligned to its element and no overlap between the two. Any grid of one-dimensional blocks casts all
// of `count`, with the bits that find_cast's functions write.
[[nodiscard]] std::string cast_kernel_name(DType source, DType destination);

// Threads in a block that suit every GPU and kernel here.
inline constexpr unsigned kCastKernelBlockThreads = 256;

}  // namespace warpload
