# cmake -DNM=<nm> -DLIBRARY=<file> [-DONLY=<regex>] [-DNONE=<regex>] -DREQUIRED=<regex> -P check_symbols.cmake: fails if the
# shared library exports a name that ONLY does not match or NONE matches, or no name that REQUIRED matches.
execute_process(COMMAND "${NM}" --dynamic --defined-only --demangle --format=posix "${LIBRARY}"
  OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" lines "${output}")
set(found OFF)
foreach(line IN LISTS lines)
  # "NAME TYPE VALUE SIZE"; names have spaces, and the version that ld appends to some has an @.
  string(REGEX REPLACE " [A-Za-z] [0-9a-f ]*$" "" name "${line}")
  if(name MATCHES "${REQUIRED}")
    set(found ON)
  endif()
  if(name AND ((ONLY AND NOT name MATCHES "${ONLY}") OR (NONE AND name MATCHES "${NONE}")))
    message(SEND_ERROR "${LIBRARY} exports ${name}")
  endif()
endforeach()
if(NOT found)
  message(SEND_ERROR "${LIBRARY} exports nothing that matches ${REQUIRED}")
endif()
