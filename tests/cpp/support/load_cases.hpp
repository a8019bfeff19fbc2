// Checkpoints in memory and the bytes that loads of them have to give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "convert/cast.hpp"
#include "cpp/support/memory_source.hpp"
#include "cpp/support/safetensors_bytes.hpp"
#include "warpload/checkpoint.hpp"
#include "warpload/device.hpp"
#include "warpload/tensor_list.hpp"

namespace warpload::testing {

inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// Finite bf16 numbers, no two neighbours of 128 alike.
inline std::string bf16_pattern(std::size_t count, unsigned seed = 0) {
  std::string bytes;
  bytes.reserve(count * 2);
  for (std::size_t index = 0; index < count; ++index) {
    bytes += static_cast<char>((index + seed) % 128);
    bytes += static_cast<char>(0x3F);
  }
  return bytes;
}

// f32 numbers that round when they become bf16 or f16.
inline std::string f32_pattern(std::size_t count, unsigned seed = 0) {
  std::string bytes;
  bytes.reserve(count * 4);
  for (std::size_t index = 0; index < count; ++index) {
    bytes += static_cast<char>((index * 7 + seed) % 251);
    bytes += static_cast<char>((index * 3) % 253);
    bytes += static_cast<char>(index % 128);
    bytes += static_cast<char>(0x3F);
  }
  return bytes;
}

// What the scalar code makes of the bytes.
inline std::string cast_bytes(const std::string& bytes, DType source, DType destination) {
  const std::size_t count = bytes.size() * 8 / dtype_bits(source);
  std::string result(count * dtype_bits(destination) / 8, '\0');
  find_cast(source, destination, SimdLevel::kScalar)(reinterpret_cast<const std::byte*>(bytes.data()),
                                                     reinterpret_cast<std::byte*>(result.data()), count);
  return result;
}

inline Checkpoint::Ptr checkpoint_of(const std::vector<TensorSpec>& tensors, MemorySource::Options options = {}) {
  return Checkpoint::from_sources({std::make_shared<MemorySource>(safetensors_file(tensors), std::move(options))});
}

// The tensors each by itself, so that one can be released before the others.
inline std::vector<Tensor> tensors_of(const TensorList& list) {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : list) tensors.push_back(tensor);
  return tensors;
}

// The tensor's bytes, brought back to the host.
inline std::string bytes_of(const Tensor& tensor, const Device& device) {
  std::string bytes(static_cast<std::size_t>(tensor.nbytes()), '\0');
  device.read(tensor.data(), reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  return bytes;
}

}  // namespace warpload::testing
