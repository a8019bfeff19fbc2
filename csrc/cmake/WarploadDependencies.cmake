# What the build needs from outside. Nothing is vendored.

find_package(Threads REQUIRED)
if(WARPLOAD_PYTHON)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
else()
  find_package(Python QUIET COMPONENTS Interpreter)  # only asked where the headers of nlohmann-json are, for tests
endif()

if(WARPLOAD_TESTS OR WARPLOAD_FUZZ)
  # nlohmann-json, for tests only: the system's CMake package, or the headers that its PyPI package carries.
  if(NOT TARGET nlohmann_json::nlohmann_json)  # a project that includes this one may have brought it
    find_package(nlohmann_json 3.10 QUIET CONFIG)
  endif()
  if(NOT TARGET nlohmann_json::nlohmann_json)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c "import nlohmann_json, pathlib; print(pathlib.Path(nlohmann_json.__file__).parent / 'include')"
      OUTPUT_VARIABLE warpload_json_include OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE warpload_json_result)
    if(NOT warpload_json_result EQUAL 0)
      message(FATAL_ERROR "nlohmann-json was not found: install its CMake package, or `pip install nlohmann-json`.")
    endif()
  else()
    set(warpload_json_include $<TARGET_PROPERTY:nlohmann_json::nlohmann_json,INTERFACE_INCLUDE_DIRECTORIES>)
  endif()
endif()

if(WARPLOAD_TESTS)
  find_package(GTest QUIET)
  if(NOT GTest_FOUND)
    include(FetchContent)
    FetchContent_Declare(googletest
      URL https://github.com/google/googletest/releases/download/v1.15.2/googletest-1.15.2.tar.gz
      URL_HASH SHA256=7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926)
    set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
    FetchContent_MakeAvailable(googletest)
  endif()
endif()
