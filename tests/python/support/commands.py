"""The `warpload` commands, run in this process."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from warpload.cli import application


def run(command: str, *arguments: object) -> Result:
    """Return what a command did and wrote."""
    return CliRunner().invoke(application, [command, *map(str, arguments)])


def told(command: str, *arguments: object, status: int = 0) -> dict[str, Any]:
    """Return what a command writes with `--json`; nothing else may be on the standard output."""
    result = run(command, *arguments, "--json")
    assert result.exit_code == status, result.output
    return dict(json.loads(result.stdout))
