#!/bin/sh
# pkg_config.sh PKG_CONFIG shared|static FOLDER PROGRAM COMPILER STANDARD SOURCE ARGUMENT...
#
# Builds SOURCE as a makefile would, by the warpload.pc in FOLDER alone, and runs it with the arguments.
set -eu
pkg_config=$1 kind=$2 folder=$3 program=$4 compiler=$5 standard=$6 source=$7
shift 7

export PKG_CONFIG_LIBDIR="$folder"
if [ "$kind" = static ]; then
  # --static only adds what the library needs; the linker would still prefer the shared one.
  flags=$("$pkg_config" --cflags --libs --static warpload | sed 's/-lwarpload\b/-l:libwarpload.a/')
else
  flags=$("$pkg_config" --cflags --libs warpload)
  LD_LIBRARY_PATH=$("$pkg_config" --variable=libdir warpload)
  export LD_LIBRARY_PATH
fi
# shellcheck disable=SC2086 # flags are words
"$compiler" "$standard" "$source" -o "$program" $flags
"$program" "$@"
