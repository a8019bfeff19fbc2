"""The page of the command line, made of what `--help` says."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from mkdocs.structure.files import File

_COMMAND = (sys.executable, "-m", "typer", "warpload.cli", "utils", "docs", "--name", "warpload")


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    told = subprocess.run(_COMMAND, capture_output=True, text=True, check=True).stdout
    page = told.replace("# `warpload`\n", "# Command line\n", 1)
    files.append(File.generated(config, "command-line.md", content=page))
    return files
