# Toolchain for aarch64 on another machine, with Debian's cross compiler (g++-aarch64-linux-gnu); programs of the target,
# such as tests, run under qemu-user. For `make test-aarch64`:
#
#   cmake -DCMAKE_TOOLCHAIN_FILE=csrc/cmake/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(WARPLOAD_QEMU NAMES qemu-aarch64-static qemu-aarch64 DOC "qemu-user, which runs the target's programs")
if(WARPLOAD_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${WARPLOAD_QEMU};-L;/usr/aarch64-linux-gnu")
endif()
# Headers, libraries and packages of this machine are not the target's; its programs are what runs here.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
