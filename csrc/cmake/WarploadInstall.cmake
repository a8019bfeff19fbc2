# What `cmake --install` installs: headers, libraries, and how CMake and pkg-config find them. All of it is relocatable.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

function(warpload_install)
  set(package "${CMAKE_INSTALL_LIBDIR}/cmake/warpload")
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/csrc/include/warpload" "${PROJECT_BINARY_DIR}/include/warpload"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
  # A file of targets each, so that a distribution may leave one library out.
  foreach(kind shared static)
    install(TARGETS warpload_${kind} EXPORT warpload-${kind}
      LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
      ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
      INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    install(EXPORT warpload-${kind} NAMESPACE warpload:: DESTINATION "${package}")
  endforeach()

  # A program in C that links to the static library needs the C++ runtime that this compiler links to by itself.
  set(WARPLOAD_CXX_RUNTIME ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
  list(FILTER WARPLOAD_CXX_RUNTIME INCLUDE REGEX "^(stdc[+][+]|c[+][+]|c[+][+]abi|m)$")
  list(REMOVE_DUPLICATES WARPLOAD_CXX_RUNTIME)

  set(built "${PROJECT_BINARY_DIR}/package")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/csrc/cmake/warploadConfig.cmake.in" "${built}/warploadConfig.cmake"
    INSTALL_DESTINATION "${package}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  set(compatibility SameMajorVersion)
  if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatibility SameMinorVersion)
  endif()
  write_basic_package_version_file("${built}/warploadConfigVersion.cmake" COMPATIBILITY ${compatibility})
  install(FILES "${built}/warploadConfig.cmake" "${built}/warploadConfigVersion.cmake" DESTINATION "${package}")
  warpload_install_pkg_config("${built}/warpload.pc")
endfunction()

function(warpload_install_pkg_config file)
  set(folder "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
  file(RELATIVE_PATH up "${folder}" "${CMAKE_INSTALL_PREFIX}")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(PC_PREFIX "\${pcfiledir}/${up}")
  foreach(kind LIBDIR INCLUDEDIR)
    set(PC_${kind} "${CMAKE_INSTALL_${kind}}")
    if(NOT IS_ABSOLUTE "${PC_${kind}}")
      set(PC_${kind} "\${prefix}/${PC_${kind}}")
    endif()
  endforeach()
  list(TRANSFORM WARPLOAD_CXX_RUNTIME PREPEND "-l" OUTPUT_VARIABLE runtime)
  list(JOIN runtime " " PC_RUNTIME)
  configure_file("${PROJECT_SOURCE_DIR}/csrc/cmake/warpload.pc.in" "${file}" @ONLY)
  install(FILES "${file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endfunction()
