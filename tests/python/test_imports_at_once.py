"""What is imported at once, as a version is not one that we know: right as ever, and said once."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.utils import import_utils

from support.pipelines import Saved
from support.processes import run_python
from support.put_off import NAMES, TABLE, write_library
from warpload.stock import at_once, deferring, seam_check

LOG = """
import logging
class Handler(logging.Handler):
    said = []
    def emit(self, record): self.said.append((record.levelname, record.getMessage()))
logging.getLogger("warpload").addHandler(Handler())
logging.getLogger("warpload").setLevel(logging.INFO)  # at DEBUG each load is told of
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return write_library(tmp_path)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("unknown", "does not name library.part where it asks for it, so that library is imported at once"),
        ("otherwise", "asks it for value, of which the table does not know, so that library.part is imported at once"),
    ],
)
def test_a_line_that_puts_nothing_off_is_said_once_with_the_version_that_asks(
    module: str, reason: str, library: Path
) -> None:
    run_python(
        TABLE
        + LOG
        + f"""
for _ in range(2):
    with deferring.imports_put_off():
        import asker.{module}
    for name in ("asker.{module}", "library.part", "library"):
        del sys.modules[name]
expected = (
    "asker.{module} of asker 7.0 {reason}, which takes about 1 ms of the processor; nothing but the start is slower"
)
assert turned_off() == {{"lazy import of library.part": expected}}, turned_off()
assert Handler.said == [("INFO", "lazy import of library.part is turned off: " + expected)], Handler.said
""",
        library,
    )


def test_of_a_line_that_puts_off_nothing_is_said(library: Path) -> None:
    run_python(
        TABLE
        + LOG
        + NAMES
        + """
import importlib.util
assert names.call() == "called" and turned_off() == {} and Handler.said == []
with deferring.imports_put_off():
    assert names.call() == "called" and importlib.util.find_spec("library.part") is not None
assert turned_off() == {} and Handler.said == []
""",
        library,
    )


def test_of_what_an_asker_takes_after_the_import_nothing_is_said(library: Path) -> None:
    run_python(
        TABLE
        + LOG
        + """
with deferring.imports_put_off():
    import asker.whole
assert put_off() and asker.whole.take() == 1 and put_off() == []
assert turned_off() == {} and Handler.said == []
""",
        library,
    )


@pytest.mark.parametrize("name", ["__import__('library.part')", "exec('import library.part')", "import library.part"])
def test_of_a_library_that_is_not_installed_nothing_is_said(name: str, library: Path) -> None:
    (library / "library").rename(library / "elsewhere")
    (library / "asker" / "unknown.py").write_text(f"try:\n    {name}\nexcept ImportError:\n    pass\n")
    run_python(
        TABLE + LOG + "with deferring.imports_put_off():\n    import asker.unknown\n"
        "assert turned_off() == {} and Handler.said == []",
        library,
    )


def test_of_code_that_the_table_does_not_name_nothing_is_said(library: Path) -> None:
    run_python(
        TABLE
        + LOG
        + """
with deferring.imports_put_off():
    import library.part
assert runs() == (1, 1) and turned_off() == {} and Handler.said == []
""",
        library,
    )


def test_a_python_whose_import_system_we_do_not_know_is_said(library: Path) -> None:
    run_python(
        TABLE
        + LOG
        + """
import platform
deferred_module._LOCK = "_of_another_python"
for _ in range(2):
    with deferring.imports_put_off():
        import asker.names
reason = f"the import system of Python {platform.python_version()} is not as we know it"
assert turned_off() == {"lazy imports": reason + "; nothing but the start is slower"}, turned_off()
assert [level for level, _ in Handler.said] == ["INFO"]
""",
        library,
    )


@pytest.mark.parametrize("name", ["create_import_structure_from_path", "fetch__all__"])
def test_a_scan_that_we_do_not_know_is_left_alone_and_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_another_version(path: object) -> object:
        return path

    monkeypatch.setattr(at_once, "_noted", {})
    monkeypatch.setattr(import_utils, name, of_another_version)

    with deferring.imports_put_off():
        assert getattr(import_utils, name) is of_another_version

    version = seam_check.version("transformers")
    reason = f"transformers.utils.import_utils.{name} of transformers {version} is not as we know it"
    assert at_once.turned_off() == {"scanning models once": f"{reason}; nothing but the start is slower"}


def test_a_pipeline_says_in_its_report_what_was_imported_at_once(saved: Saved) -> None:
    """By a transformers that asks for what a line of the table puts off in words of its own."""
    run_python(
        """
import sys, types
from dataclasses import replace
from warpload.stock import deferred
lines = deferred.DEFERRALS
changed = [replace(line, words=("other",)) if "scipy.optimize" in line.modules else line for line in lines]
deferred.DEFERRALS = tuple(changed)
import warpload
for _ in range(2):
    warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
    ((what, why),) = warpload.last_report().turned_off.items()
    assert what == "lazy import of scipy.optimize", what
    import transformers
    assert why.startswith("transformers.loss.") and f" of transformers {transformers.__version__} " in why, why
    assert f"turned off: {what}: {why}" in str(warpload.last_report())
assert type(sys.modules["scipy.optimize"]) is types.ModuleType
""",
        saved("stable-diffusion-xl"),
    )
