"""Makes the one JSON file of a GPU from journals: `python -m benchmarks.gpu.merge FOLDER|JOURNAL... --output FOLDER`.

Reads nothing else, so it works on any machine, and with a journal that ends where its run was killed. With several (a
first and a second call) the results are put together. Needs no warpload and no torch.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import report
from .journal import JournalError, read

JOURNAL = "results.jsonl"
REHEARSAL_JOURNAL = "rehearsal.jsonl"
_SUITES = ("ctest", "pytest")
_UNKNOWN = "unknown"
_CONSOLE = Console(width=160)
Results = list[dict[str, Any]]


def main(
    journals: Annotated[list[Path], typer.Argument(help="Journals, or folders of a run's output.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the JSON file; else the first journal's.")] = None,
) -> None:
    """Merge, show, and exit with 1 where a test failed or did not run, or a result is wrong."""
    try:
        files = [find_journal(path) for path in journals]
        results = read(files)
    except (OSError, JournalError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    content = merge(results)
    file = write(output or files[0].parent, content)
    show(content)
    print(f"every result is in {', '.join(map(str, files))}, put together in {file}")
    raise typer.Exit(1 if failures(content) else 0)


def find_journal(path: Path) -> Path:
    """Return the journal that a path is, or that is in a folder."""
    if not path.is_dir():
        return path
    found = [path / name for name in (JOURNAL, REHEARSAL_JOURNAL) if (path / name).is_file()]
    if len(found) != 1:
        raise FileNotFoundError(f"{path} has {len(found)} journals ({JOURNAL}, {REHEARSAL_JOURNAL}), not one; name it")
    return found[0]


def merge(results: Results) -> dict[str, Any]:
    """Return what the JSON file has; the part of each model is there as far as its results are."""
    device = _last_fact(results, "device")
    content: dict[str, Any] = {
        "rehearsal": any(result["rehearsal"] for result in results),
        "gpu": device.get("gpu") or _last_fact(results, "gpu").get("gpu") or _UNKNOWN,
        "driver": device.get("driver", _last_fact(results, "gpu").get("driver_version", _UNKNOWN)),
        "torch": device.get("torch", _last_fact(results, "packages").get("torch", _UNKNOWN)),
        "cuda": device.get("cuda", _UNKNOWN),
        "machine": _last_fact(results, "machine"),
        "kit": _last_fact(results, "kit"),
        "tests": _tests(results),
        **_model_part(results, "sdxl"),
    }
    if large := _model_part(results, "large"):
        content["large"] = large
    for key, kind in (("sweep", "sweep"), ("load_drop_load", "load_drop_load"), ("facts", "fact")):
        content[key] = [_without(result, "step", "rehearsal", "kind") for result in results if _is(result, kind)]
    content["fallbacks"] = [
        {key: result[key] for key in ("what", "reason")} for result in results if _is(result, "fallback")
    ]
    content["steps"] = _steps(results)
    return content


def _is(result: dict[str, Any], kind: str) -> bool:
    return bool(result["kind"] == kind)


def _without(result: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in keys}


def _last_fact(results: Results, name: str) -> dict[str, Any]:
    found = [result for result in results if _is(result, "fact") and result["name"] == name]
    return _without(found[-1], "kind", "step", "rehearsal", "at", "name", "seconds") if found else {}


def _tests(results: Results) -> dict[str, Any]:
    """Count by suite; a test that was begun and has no outcome was cut off."""
    tests = [result for result in results if _is(result, "test")]
    found: dict[str, Any] = {suite: _counts([]) for suite in _SUITES}
    for suite in dict.fromkeys(result["suite"] for result in tests):
        found[suite] = _counts([result for result in tests if result["suite"] == suite])
    for (suite, step), collected in _collected(results).items():
        # A step may have been run again: what any of its runs has finished is done.
        done = {test["name"] for test in tests if (test["suite"], test["step"]) == (suite, step)}
        if collected > len(done):
            found.setdefault(suite, _counts([]))["not_run"].append(f"{collected - len(done)} of {step}")
    sanitizer = [test["outcome"] for test in tests if test["suite"] == "compute-sanitizer"]
    found["compute-sanitizer"] = _sanitizer(sanitizer)
    return found


def _collected(results: Results) -> dict[tuple[str, str], int]:
    """Return how many tests each step of a suite has found, of its runs the one that found most."""
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        if _is(result, "collected"):
            key = (result["suite"], result["step"])
            counts[key] = max(counts.get(key, 0), result["tests"])
    return counts


def _counts(tests: Results) -> dict[str, Any]:
    by_name = {test["name"]: test for test in tests}  # the last outcome counts
    counts: dict[str, Any] = {"passed": 0, "failed": [], "not_run": []}
    for name, test in by_name.items():
        if test["outcome"] == "passed":
            counts["passed"] += 1
        else:
            counts["failed" if test["outcome"] == "failed" else "not_run"].append(name)
    return counts


def _sanitizer(outcomes: Sequence[str]) -> str:
    if not outcomes:
        return "not run"
    return "clean" if set(outcomes) == {"passed"} else ", ".join(sorted(set(outcomes)))


def _model_part(results: Results, key: str) -> dict[str, Any]:
    """Return what the JSON file has of one model, or nothing."""
    own = [result for result in results if result.get("model") == key]
    descriptions = [result for result in own if _is(result, "model")]
    if not descriptions:
        return {}
    model = _without(descriptions[-1], "kind", "step", "rehearsal", "at", "model")
    # The copies are measured once, beside the first model.
    found = report.ceilings_of(
        [r for r in results if _is(r, "ceiling") and (r["model"] == key or r["name"] != report.DISK)]
    )
    limits = report.Limits.of_ceilings(found)
    runs = [
        {**_without(run, "case", "step", "rehearsal", "model"), "kind": run["case"]} for run in own if _is(run, "load")
    ]
    figures = report.figures(model["bytes"], limits, runs)
    return {
        "model": model,
        **asdict(limits),
        **figures,
        "bars": [bar.to_json() for bar in report.bars(model["bytes"], figures)],
        "not_measured": _not_measured(own),
        "verified_tensors": {r["loader"]: r["tensors"] for r in own if _is(r, "verified") and not r["wrong"]},
        "wrong_tensors": {r["loader"]: r["wrong"] for r in own if _is(r, "verified") and r["wrong"]},
        "packages": {name: value for r in own if _is(r, "versions") for name, value in r["versions"].items()},
        "measured_at": descriptions[-1]["at"],
        "command": next((r["command"] for r in reversed(results) if r.get("command")), _UNKNOWN),
        "ceilings": [asdict(ceiling) for ceiling in found],
        "runs": runs,
    }


def _not_measured(own: Results) -> dict[str, str]:
    """Return what has no figure, with the reason; what was measured in another call of the suite has one."""
    loads = [(run["loader"], run["case"]) for run in own if _is(run, "load")]
    measured = {f"{loader}, {case}" for loader, case in loads} | {loader for loader, _ in loads}
    found = {result["what"]: result["reason"] for result in own if _is(result, "not_measured")}
    return {what: reason for what, reason in found.items() if what not in measured}


def _steps(results: Results) -> list[dict[str, Any]]:
    """Return the steps with how they ended; one that has only begun was cut off with the whole run."""
    steps: list[dict[str, Any]] = []
    for result in results:
        if _is(result, "step") and result["event"] == "begin":
            steps.append({"name": result["step"], "began": result["began"], "status": "cut off"})
        elif _is(result, "step") and steps:
            steps[-1].update({key: result[key] for key in ("status", "seconds", "limit")})
    return steps


def failures(content: dict[str, Any]) -> list[str]:
    """Return what is wrong: tests, tensors, steps, and our or stock's loads; a bar that is missed is a figure."""
    found = [f"{suite}: {name}" for suite, counts in content["tests"].items() if isinstance(counts, dict)
             for name in [*counts["failed"], *counts["not_run"]]]  # fmt: skip
    for part in (content, content.get("large", {})):
        found += [f"{name}: wrong tensors" for name in part.get("wrong_tensors", {})]
        found += [
            f"{name}: {reason}"
            for name, reason in part.get("not_measured", {}).items()
            if name.startswith(("warpload", "stock")) and reason.startswith(("failed", "not installed"))
        ]
    return found + [f"step {step['name']}: {step['status']}" for step in content["steps"] if step["status"] != "ok"]


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write the file named after the GPU; a rehearsal's name says that it is one."""
    folder.mkdir(parents=True, exist_ok=True)
    words = re.findall(r"[a-z0-9]+", content["gpu"].lower())
    name = "-".join(word for word in words if word not in ("nvidia", "tesla", "geforce"))
    file = folder / (f"rehearsal-{name}.json" if content["rehearsal"] else f"{name}.json")
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file


def show(content: dict[str, Any]) -> None:
    """Print the figures, the bars, and what is wrong."""
    if content["rehearsal"]:
        _say("A REHEARSAL: no figure means anything.")
    for part in (content, content.get("large", {})):
        if "model" not in part:
            continue
        limits = report.Limits(*(part[key] for key in ("h2d_ceiling_gbps", "page_cache_gbps", "disk_ceiling_gbps")))
        _CONSOLE.print(report.table(part, limits))
        for name, reason in part["not_measured"].items():
            _say(f"{name}: {reason}")
        for bar in part["bars"]:
            _say(str(report.Bar(bar["name"], bar["wanted"], bar["measured"])))
    for suite, counts in content["tests"].items():
        if isinstance(counts, str):
            _say(f"{suite}: {counts}")
            continue
        _say(f"{suite}: {counts['passed']} passed, {len(counts['failed'])} failed, {len(counts['not_run'])} not run")
    for fallback in content["fallbacks"]:
        _say(f"built here: {fallback['what']}: {fallback['reason']}")
    for failure in failures(content):
        _say(f"WRONG: {failure}")


def _say(line: str) -> None:
    _CONSOLE.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
