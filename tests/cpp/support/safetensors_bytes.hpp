// Bytes of safetensors files, right and wrong ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warpload::testing {

// `length` as the eight little-endian bytes that start a file.
inline std::string length_bytes(std::uint64_t length) {
  std::string bytes;
  for (int index = 0; index < 8; ++index) bytes += static_cast<char>(length >> (8 * index) & 0xFF);
  return bytes;
}

// A file with this header, whether it makes sense or not, followed by `data`.
inline std::string safetensors_bytes(std::string_view header, std::string_view data = {}) {
  return length_bytes(header.size()).append(header).append(data);
}

// `size` bytes of which no two neighbours of 251 are alike, so that data in a wrong place are noticed.
inline std::string pattern_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t index = 0; index < size; ++index) bytes[index] = static_cast<char>(index % 251);
  return bytes;
}

// One tensor for safetensors_file; its size in bytes is that of `data`.
struct TensorSpec {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string data;
};

// A correct file with these tensors, one behind the other in the given order. Names go into the JSON as they
// are.
inline std::string safetensors_file(const std::vector<TensorSpec>& tensors) {
  std::string header = "{";
  std::string data;
  for (const TensorSpec& tensor : tensors) {
    if (header.size() > 1) header += ',';
    header += '"' + tensor.name + R"(":{"dtype":")" + tensor.dtype + R"(","shape":[)";
    for (std::size_t index = 0; index < tensor.shape.size(); ++index) {
      if (index > 0) header += ',';
      header += std::to_string(tensor.shape[index]);
    }
    header += R"(],"data_offsets":[)" + std::to_string(data.size()) + ',' +
              std::to_string(data.size() + tensor.data.size()) + "]}";
    data += tensor.data;
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');  // as the safetensors package pads
  return safetensors_bytes(header, data);
}

}  // namespace warpload::testing
