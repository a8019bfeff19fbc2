"""What the package brings for C++: the folder that `warpload prefix` prints, and what the extension exports."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.processes import run_python
from warpload import _core, cli


def test_the_prefix_holds_headers_libraries_and_packages() -> None:
    folder = Path(
        run_python("import sys; sys.argv = ['warpload', 'prefix']\nfrom warpload.cli import main; main()").stdout[:-1]
    )

    assert folder.is_absolute()
    for name in (
        "include/warpload/warpload.hpp",
        "include/warpload/version.h",
        "lib/libwarpload.a",
        "lib/libwarpload.so",
        "lib/cmake/warpload/warploadConfig.cmake",
        "lib/pkgconfig/warpload.pc",
    ):
        assert (folder / name).is_file(), name


def test_asking_for_the_prefix_imports_nothing_heavy() -> None:
    run_python(
        """
import sys
from warpload.cli import main
sys.argv = ["warpload", "prefix"]
try:
    main()
finally:
    assert not sys.modules.keys() & {"torch", "diffusers", "transformers", "numpy"}, sys.modules.keys()
"""
    )


def test_a_package_without_the_library_has_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        origin = str(tmp_path / "_core.so")

    monkeypatch.setattr(cli, "find_spec", lambda _: Elsewhere)

    result = CliRunner().invoke(cli.application, ["prefix"])

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "WARPLOAD_INSTALL" in result.stderr


def test_the_header_tells_the_packages_version() -> None:
    header = Path(_core.__file__).parent / "include" / "warpload" / "version.h"

    assert f'#define WARPLOAD_VERSION "{_core.__version__}"' in header.read_text(encoding="utf-8").splitlines()


def test_the_extension_exports_nothing_but_its_entry() -> None:
    """Symbols of the core in it would bind to those of another warpload in the process, or be bound by them."""
    result = subprocess.run(
        ["nm", "--dynamic", "--defined-only", _core.__file__], capture_output=True, text=True, check=True
    )

    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["PyInit__core"]
