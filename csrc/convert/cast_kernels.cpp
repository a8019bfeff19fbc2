#include "convert/cast_kernels.hpp"

#include "convert/cast.hpp"

namespace warpload {
namespace {

// The format's code in small letters, as it stands in cast_kernels.cu: "f8_e4m3".
std::string lower_case_name(DType dtype) {
  std::string name(dtype_name(dtype));
  for (char& letter : name) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return name;
}

}  // namespace

std::string cast_kernel_name(DType source, DType destination) {
  if (!is_cast_supported(source, destination)) return {};
  return "warpload_cast_" + lower_case_name(source) + "_" + lower_case_name(destination);
}

}  // namespace warpload
