// The version that the headers tell is the one that CMake found.
#include <stdio.h>
#include <string.h>
#include <warpload/export.h>
#include <warpload/version.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

int main(void) {
  const char* numbers = TEXT(WARPLOAD_VERSION_MAJOR) "." TEXT(WARPLOAD_VERSION_MINOR) "." TEXT(WARPLOAD_VERSION_PATCH);
  printf("header %s, %s; package %s\n", WARPLOAD_VERSION, numbers, EXPECTED_VERSION);
  return strcmp(WARPLOAD_VERSION, EXPECTED_VERSION) != 0 || strcmp(numbers, EXPECTED_VERSION) != 0;
}
