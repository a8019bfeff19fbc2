# The casts as CUDA kernels: nvcc makes one image of code for every GPU, which becomes an array in the core. Nothing
# links to CUDA, and CMake's own CUDA language stays off: it would have every build need a working nvcc.

set(WARPLOAD_CUDA_KERNELS AUTO CACHE STRING "Build the CUDA kernels: AUTO (where nvcc is found and works), ON or OFF")
set_property(CACHE WARPLOAD_CUDA_KERNELS PROPERTY STRINGS AUTO ON OFF)
if(NOT WARPLOAD_CUDA_KERNELS MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "WARPLOAD_CUDA_KERNELS must be AUTO, ON or OFF, not '${WARPLOAD_CUDA_KERNELS}'.")
endif()

set(WARPLOAD_CUDA_ARCHITECTURES "" CACHE STRING
  "Compute capabilities that the CUDA kernels are built for, such as '90' or '80;90'; empty: all that nvcc knows, and PTX")
if(NOT WARPLOAD_CUDA_ARCHITECTURES MATCHES "^([0-9]+(;[0-9]+)*)?$")
  message(FATAL_ERROR
    "WARPLOAD_CUDA_ARCHITECTURES must be numbers such as '90' or '80;90', not '${WARPLOAD_CUDA_ARCHITECTURES}'.")
endif()

# Uncompressed, as drivers older than the toolkit may not know how to decompress. With the definition of the kernels in
# C++17, any nvcc that knows GPUs of today compiles them.
set(WARPLOAD_NVCC_FLAGS -fatbin -std=c++17 --expt-relaxed-constexpr -no-compress)

# Sets `result` to the arguments that choose the GPUs: machine code for those that WARPLOAD_CUDA_ARCHITECTURES names, or
# for those of these that nvcc knows, and PTX, which the driver translates, for all newer ones. Empty if nvcc can't say
# what it knows.
function(warpload_find_gpus nvcc result)
  set(${result} "" PARENT_SCOPE)
  if(WARPLOAD_CUDA_ARCHITECTURES)
    set(arguments "")
    foreach(number IN LISTS WARPLOAD_CUDA_ARCHITECTURES)
      list(APPEND arguments -gencode "arch=compute_${number},code=sm_${number}")
    endforeach()
    set(${result} "${arguments}" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND "${nvcc}" --list-gpu-code OUTPUT_VARIABLE known ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    return()
  endif()
  string(REGEX MATCHALL "sm_[0-9]+" known "${known}")
  set(arguments "")
  set(lowest "")
  foreach(gpu IN LISTS known)
    string(REPLACE "sm_" "" number "${gpu}")
    if(number MATCHES "^(80|86|89|90|100|120)$")
      list(APPEND arguments -gencode "arch=compute_${number},code=sm_${number}")
    endif()
    if(number GREATER_EQUAL 75 AND (lowest STREQUAL "" OR number LESS lowest))
      set(lowest ${number})
    endif()
  endforeach()
  if(NOT lowest STREQUAL "")
    list(APPEND arguments -gencode "arch=compute_${lowest},code=compute_${lowest}")
  endif()
  set(${result} "${arguments}" PARENT_SCOPE)
endfunction()

# Sets `result` to whether nvcc compiles a kernel: one may be installed without a host compiler that it accepts.
function(warpload_nvcc_works nvcc gpus result)
  set(probe "${CMAKE_BINARY_DIR}/CMakeFiles/warpload_nvcc_probe")
  file(WRITE "${probe}.cu" "#include <cstdint>\nextern \"C\" __global__ void probe(std::uint8_t* byte) { *byte = 1; }\n")
  execute_process(
    COMMAND "${nvcc}" ${WARPLOAD_NVCC_FLAGS} ${gpus} "${probe}.cu" -o "${probe}.fatbin"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE failed)
  if(failed)
    file(WRITE "${probe}.log" "${output}")
    set(${result} OFF PARENT_SCOPE)
  else()
    set(${result} ON PARENT_SCOPE)
  endif()
endfunction()

# Decides once for all folders: sets WARPLOAD_CUDA_KERNELS_BUILT, and WARPLOAD_GPUS for warpload_add_cast_kernels.
macro(warpload_decide_on_kernels)
  set(WARPLOAD_CUDA_KERNELS_BUILT OFF)
  set(warpload_kernels_status "not built: WARPLOAD_CUDA_KERNELS is OFF")
  if(NOT WARPLOAD_CUDA_KERNELS STREQUAL "OFF")
    find_program(WARPLOAD_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin
      DOC "nvcc, for the CUDA kernels")
    set(warpload_kernels_status "not built: nvcc was not found (CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda)")
    if(WARPLOAD_NVCC)
      warpload_find_gpus("${WARPLOAD_NVCC}" WARPLOAD_GPUS)
      set(warpload_kernels_status "not built: ${WARPLOAD_NVCC} lists no GPU of compute capability 7.5 or later")
    endif()
    if(WARPLOAD_NVCC AND WARPLOAD_GPUS)
      warpload_nvcc_works("${WARPLOAD_NVCC}" "${WARPLOAD_GPUS}" WARPLOAD_CUDA_KERNELS_BUILT)
      set(warpload_kernels_status
        "not built: ${WARPLOAD_NVCC} does not compile; see ${CMAKE_BINARY_DIR}/CMakeFiles/warpload_nvcc_probe.log")
    endif()
    if(WARPLOAD_CUDA_KERNELS_BUILT)
      string(REGEX MATCHALL "code=[a-z]+_[0-9]+" warpload_kernels_status "${WARPLOAD_GPUS}")
      string(REGEX REPLACE "code=|;" " " warpload_kernels_status "${warpload_kernels_status}")
      string(REGEX REPLACE " +" " " warpload_kernels_status "built by ${WARPLOAD_NVCC} for${warpload_kernels_status}")
    endif()
  endif()
  if(WARPLOAD_CUDA_KERNELS STREQUAL "ON" AND NOT WARPLOAD_CUDA_KERNELS_BUILT)
    message(FATAL_ERROR "CUDA kernels ${warpload_kernels_status}.")
  endif()
  message(STATUS "CUDA kernels: ${warpload_kernels_status}")
endmacro()

# Gives `target` the definition of embedded_cast_kernels(): the image, or nothing.
function(warpload_add_cast_kernels target)
  if(NOT WARPLOAD_CUDA_KERNELS_BUILT)
    target_sources(${target} PRIVATE convert/cast_kernels_none.cpp)
    return()
  endif()
  set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/convert/cast_kernels.cu")
  set(image "${CMAKE_CURRENT_BINARY_DIR}/cast_kernels.fatbin")
  set(source "${CMAKE_CURRENT_BINARY_DIR}/cast_kernels_image.cpp")
  set(embed "${PROJECT_SOURCE_DIR}/csrc/cmake/EmbedKernels.cmake")
  add_custom_command(
    OUTPUT "${image}"
    COMMAND "${WARPLOAD_NVCC}" ${WARPLOAD_NVCC_FLAGS} ${WARPLOAD_GPUS}
      "-I${CMAKE_CURRENT_SOURCE_DIR}" "-I${CMAKE_CURRENT_SOURCE_DIR}/include"
      -MD -MF "${image}.d" -MT "${image}" "${kernels}" -o "${image}"
    DEPENDS "${kernels}"
    DEPFILE "${image}.d"
    COMMENT "Compiling the CUDA kernels"
    VERBATIM)
  add_custom_command(
    OUTPUT "${source}"
    COMMAND "${CMAKE_COMMAND}" "-DIMAGE=${image}" "-DSOURCE=${source}" -P "${embed}"
    DEPENDS "${image}" "${embed}"
    COMMENT "Embedding the CUDA kernels"
    VERBATIM)
  target_sources(${target} PRIVATE "${source}")
endfunction()
