# cmake -DIMAGE=<file> -DSOURCE=<file.cpp> -P EmbedKernels.cmake: writes the C++ that holds the image's bytes.
file(READ "${IMAGE}" bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${SOURCE}" "// Made from cast_kernels.cu by EmbedKernels.cmake.
#include \"convert/cast_kernels.hpp\"

namespace warpload {
namespace {
alignas(16) constexpr unsigned char kImage[] = {${bytes}};
}  // namespace

std::span<const std::byte> embedded_cast_kernels() noexcept { return std::as_bytes(std::span(kImage)); }

}  // namespace warpload
")
