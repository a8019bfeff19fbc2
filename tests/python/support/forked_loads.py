"""Programs run in children of one process that has the libraries imported already: a test then pays no imports.

As in a fresh process nothing is loaded there yet, and nothing of warpload is imported. It is not for tests of imports.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOADED = ("diffusers", "transformers", "diffusers.pipelines.stable_diffusion", "diffusers.pipelines.flux")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(list(PRELOADED))


def run_process(
    command: list[str], *, limit: float, environment: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], None]:
    """Do what ``warpload.measuring.fresh_process.run_process`` does with a Python program.

    Raises:
        ContenderError: it failed.
    """
    from warpload.measuring.fresh_process import ContenderError

    _, program, *arguments = command
    with tempfile.TemporaryDirectory() as folder:
        result, messages = Path(folder) / "result", Path(folder) / "messages"
        process = _processes.Process(
            target=_run, args=(program, arguments, dict(environment or {}), str(result), str(messages))
        )
        process.start()
        process.join(limit)
        if process.exitcode != 0:
            process.kill()
            raise ContenderError(f"{' '.join(command)}\nended with {process.exitcode}:\n{messages.read_text().strip()}")
        return json.loads(result.read_text()), None


def _run(program: str, arguments: list[str], environment: dict[str, str], result: str, messages: str) -> None:
    os.environ.update(environment)
    os.dup2(os.open(messages, os.O_WRONLY | os.O_CREAT), 2)
    descriptor = os.open(result, os.O_WRONLY | os.O_CREAT)
    sys.argv = [program, *arguments, "--json-fd", str(descriptor)]
    sys.path.insert(0, str(Path(program).parent))  # as where a program is started by its path
    runpy.run_path(program, run_name="__main__")
