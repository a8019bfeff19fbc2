"""What the package's machine code asks of a system: the oldest processor of its architecture, and few libraries."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from warpload import _core

PACKAGE = Path(_core.__file__).parent
ARCHIVE = PACKAGE / "lib" / "libwarpload.a"  # the same objects as in the extension, which has no names any more
# What is compiled for an instruction set and called only where the processor has it.
CHOSEN_AT_RUN_TIME = {f"{work}_{level}.cpp.o" for work in ("cast", "dequant") for level in ("avx2", "avx512")}
# Every x86-64 has SSE2. AVX and what came with it begins with a v; these are the others that compilers use.
NEWER = re.compile(
    r"^(v\w+|popcnt|lzcnt|tzcnt|andn|bextr|bzhi|[sr][ah][lr]x|rorx|mulx|pdep|pext|crc32|movbe|ad[co]x|pshufb)$"
)
# Every Linux with glibc and what the C++ compiler's programs need has these.
SYSTEM_LIBRARIES = re.compile(r"^(lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+)\.so\.\d+|ld-linux.*\.so\.\d+)$")

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="NEON is in the oldest aarch64")


def lines_of(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def by_member(lines: list[str], heading: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield each line of what binutils print of an archive, after the member that it belongs to."""
    member = ""
    for line in lines:
        if found := heading.match(line):
            member = found[1]
        else:
            yield member, line


@on_x86
def test_newer_instructions_are_only_in_what_is_chosen_at_run_time() -> None:
    """An instruction that the processor lacks ends the process, wherever it is."""
    lines = lines_of("objdump", "--disassemble", "--no-show-raw-insn", str(ARCHIVE))
    found = {
        member
        for member, line in by_member(lines, re.compile(r"^(\S+\.o): +file format"))
        if (instruction := re.match(r"^ +[0-9a-f]+:\t(\w+)", line)) and NEWER.match(instruction[1])
    }

    assert found == CHOSEN_AT_RUN_TIME


@on_x86
def test_what_is_chosen_at_run_time_brings_no_function_that_others_share() -> None:
    """Of an inline function that several files have a linker takes one, and that might be the one with AVX."""
    lines = lines_of("nm", "--defined-only", str(ARCHIVE))
    shared = [
        (member, line)
        for member, line in by_member(lines, re.compile(r"^(\S+\.o):$"))
        if member in CHOSEN_AT_RUN_TIME and re.match(r"^[0-9a-f]+ W ", line)
    ]

    assert shared == []


@pytest.mark.parametrize("name", [Path(_core.__file__).name, "lib/libwarpload.so"], ids=["extension", "library"])
def test_only_libraries_of_the_system_are_linked(name: str) -> None:
    """No CUDA, which is opened when a GPU is asked for, and nothing that a wheel would have to carry."""
    lines = lines_of("readelf", "--dynamic", "--wide", str(PACKAGE / name))
    needed = [found[1] for line in lines if (found := re.search(r"\(NEEDED\).*\[(.+)\]", line))]

    assert "libc.so.6" in needed
    assert [library for library in needed if not SYSTEM_LIBRARIES.match(library)] == []
