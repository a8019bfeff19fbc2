"""Writes ``python/warpload/__init__.pyi``: what type checkers and editors see of the lazy names.

Run it when the pinned diffusers changes: ``PYTHONPATH=tests/python python -m support.stub``.
"""

from __future__ import annotations

from pathlib import Path

import warpload
from warpload.stock import diffusers_names as names

STUB = Path(__file__).parents[3] / "python" / "warpload" / "__init__.pyi"

_HEAD = """# Made by tests/python/support/stub.py from the names of diffusers {version}.
# To a type checker a facade is the class that it stands for: that is what its loading methods return.
"""


def stub_text() -> str:
    """Return the stub for the installed diffusers."""
    import diffusers

    ours: dict[str, list[str]] = {}
    for name, home in warpload._HOMES.items():
        if home != "facade":
            ours.setdefault(home, []).append(name)
    lines = [_HEAD.format(version=diffusers.__version__)]
    lines += _import("diffusers", set(names.diffusers_names()) | {"DiffusionPipeline"})
    for home, own in sorted(ours.items()):
        lines += _import(f".{home}", own)
    return "\n".join([*lines, "", "__version__: str", "__all__: list[str]", ""])


def _import(module: str, imported: set[str] | list[str]) -> list[str]:
    return [f"from {module} import (", *(f"    {name} as {name}," for name in sorted(imported)), ")"]


if __name__ == "__main__":
    STUB.write_text(stub_text(), encoding="utf-8")
