"""What the libraries look up on disk: once, and with the same answer."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
from transformers.utils import import_utils

from warpload.stock import deferring, looked_up_once


def by_name(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: list(distributions) for name, distributions in found.items()}


def test_the_distributions_of_this_environment_are_those_that_python_finds() -> None:
    expected = importlib.metadata.packages_distributions()

    assert by_name(looked_up_once.packages_distributions(importlib.metadata.packages_distributions)) == expected


@pytest.mark.parametrize(
    "record",
    [
        "one/__init__.py,,\none/part.py,,\nmissing/part.py,,\n../../bin/tool,,\n",
        "one.py,,\ntwo.cpython-311-x86_64-linux-gnu.so,,\nmissing.py,,\nplain,,\n",
        '"one/a,b.py",,\n./one/part.py,,\n.//two.py,,\none-1.dist-info/RECORD,,\n',
        "",
        None,
    ],
)
def test_a_distribution_has_the_names_that_python_infers(
    record: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/__init__.py", "one/part.py", "one/a,b.py", "one.py", "two.py", "plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "two.cpython-311-x86_64-linux-gnu.so").touch()
    info = tmp_path / "made_up-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    expected = importlib.metadata.packages_distributions()

    assert by_name(looked_up_once.packages_distributions(importlib.metadata.packages_distributions)) == expected


def test_each_library_has_an_answer_of_its_own_and_python_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = importlib.metadata.distributions
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **keywords: asked.append(1) or real(**keywords))
    with deferring.imports_put_off():
        first, second = (importlib.metadata.packages_distributions() for _ in range(2))

    assert first == second
    assert len(asked) == 1
    first["torch"].append("more")
    assert first != second


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\f", "\u2028"])
@pytest.mark.parametrize(
    "text",
    [
        "import x\n__all__ = ['A', 'B']",
        "__all__ = [\n    'A',\n    'B',\n]\nclass A: pass",
        "__all__ = ['A']\nx = 1\n__all__ = ['B']\n",
        "x = '__all__'\n  __all__ = ['A']\n",
        "__all__ = ['A']\nx = '__all__'",
        "__all__ += other.__all__\n",
        "nothing",
        "",
    ],
)
def test_the_end_of_a_file_exports_what_the_file_does(text: str, ending: str) -> None:
    content = text.replace("\n", ending)

    def answer(function: object) -> object:
        try:
            return function()  # type: ignore[operator]
        except Exception as error:
            return repr(error)

    expected = answer(lambda: import_utils.fetch__all__(content))

    assert answer(lambda: looked_up_once._exported(import_utils.fetch__all__, content)) == expected


def test_transformers_models_are_scanned_once_with_what_it_finds_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(import_utils.__file__).parents[1] / "models"
    import_utils.create_import_structure_from_path.cache_clear()
    expected = import_utils.create_import_structure_from_path(folder)
    import_utils.create_import_structure_from_path.cache_clear()
    stock = import_utils.create_import_structure_from_path
    with deferring.imports_put_off():
        first = import_utils.create_import_structure_from_path(folder)
        scanned = stock.cache_info().misses
        second = import_utils.create_import_structure_from_path(str(folder / "__init__.py"))

    assert first == second == expected
    assert stock.cache_info().misses == scanned
    assert import_utils.create_import_structure_from_path is stock
