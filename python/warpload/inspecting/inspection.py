"""What `warpload inspect` does: find what is meant, look at it, show what was found."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console

from warpload import consoles, strings
from warpload.errors import WarploadError
from warpload.inspecting.findings import as_json
from warpload.inspecting.gathering import gather
from warpload.inspecting.subject import SubjectError, find_subject
from warpload.inspecting.tree import tree_of
from warpload.refusing import refuse


@dataclass(frozen=True)
class InspectOptions:
    """The options of `warpload inspect`; see there."""

    source: str
    variant: str | None = None
    tensors: bool = False
    json: bool = False


def run_inspect(options: InspectOptions, console: Console | None = None, messages: Console | None = None) -> int:
    """Inspect; returns the process's exit status."""
    console, messages = console or consoles.for_results(), messages or consoles.for_messages()
    try:
        findings = gather(find_subject(options.source, options.variant), options.variant)
        if options.json:
            text = json.dumps(as_json(findings, with_tensors=options.tensors), indent=2)
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(tree_of(findings, with_tensors=options.tensors))
    except KeyboardInterrupt:
        return refuse(messages, "interrupted", 130)
    except SubjectError as error:
        return refuse(messages, strings.shown(str(error)), 2)
    except (OSError, WarploadError) as error:
        return refuse(messages, strings.shown(str(error)), 1)
    for problem in findings.problems:
        refuse(messages, strings.shown(problem), 1)
    return 1 if findings.problems else 0
