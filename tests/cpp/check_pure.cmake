# What the compiled code of csrc/plan refers to: memory, containers, errors and the dtypes' sizes, and nothing that
# measures, locks, waits, reads, or asks a device or the caller. Arguments: NM, OBJECTS (all of the core's).
list(FILTER OBJECTS INCLUDE REGEX "/plan/")
if(NOT OBJECTS)
  message(FATAL_ERROR "there are no objects of csrc/plan")
endif()
execute_process(COMMAND "${NM}" --demangle ${OBJECTS} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
set(defined "")
set(used "")
foreach(line IN LISTS lines)
  if(line MATCHES "^ +U (.+)$")
    list(APPEND used "${CMAKE_MATCH_1}")
  elseif(line MATCHES "^[0-9a-f]+ [A-Za-z] (.+)$")
    list(APPEND defined "${CMAKE_MATCH_1}")
  endif()
endforeach()
list(REMOVE_DUPLICATES used)
list(REMOVE_ITEM used ${defined})

set(allowed
  "^warpload::dtype_bits\\(" "^(typeinfo|vtable) for warpload::(Error|OutOfMemoryError)$" "^warpload::Error::Error\\("
  "^(typeinfo|vtable) for " "^operator (new|delete)" "^(memcpy|memmove|memset|memcmp|strlen|_GLOBAL_OFFSET_TABLE_)$"
  "^__cxa_(allocate_exception|free_exception|throw|throw_bad_array_new_length|begin_catch|end_catch|rethrow)$"
  "^__gxx_personality_v0$" "^_Unwind_Resume$" "^__stack_chk_fail$" "^std::__throw_" "^std::terminate\\(" "^std::_Rb_tree_"
  "^std::__cxx11::basic_string<" "^std::(runtime_error|exception|bad_alloc|length_error)::" "^std::__glibcxx_assert_fail"
  "^__(asan|ubsan|tsan|sanitizer)_" "^_?_?sanitizer")
foreach(symbol IN LISTS used)
  set(known FALSE)
  foreach(pattern IN LISTS allowed)
    if(symbol MATCHES "${pattern}")
      set(known TRUE)
      break()
    endif()
  endforeach()
  if(NOT known)
    message(SEND_ERROR "csrc/plan refers to ${symbol}")
  endif()
endforeach()
