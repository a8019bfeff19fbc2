"""The notebook of the documentation runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient

from support.pages import ROOT
from support.processes import environment


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "quick-start.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}

    with mock.patch.dict(os.environ, environment()):
        NotebookClient(notebook, kernel_name="python3", timeout=600, resources=place).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(str(output.get("text", output.get("data"))) for output in outputs)
    assert "loaded by</th>" in shown
    assert "tensors are the same" in shown
    assert "the file is truncated: 1000 bytes are missing at its end (download the file again)" in shown
