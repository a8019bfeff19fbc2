"""The one JSON file of a run of gpu_suite.sh, which each stage adds to.

python -m benchmarks.gpu.record FOLDER --ctest FILE --pytest FILE

Reads what ctest and pytest wrote as JUnit's XML. The exit status is 1 where a test failed, was skipped or did not run:
on a machine with a GPU there is no reason to skip one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any


def gpu_description(device: str) -> dict[str, str]:
    """Return the names of the device and of its driver, and torch's version."""
    import torch

    if device == "cpu":
        return {"gpu": "none (CPU)", "driver": "none", "torch": torch.__version__}
    name = torch.cuda.get_device_name(device)
    return {"gpu": name, "driver": _driver(), "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.split("\n")[0].strip()


def result_file(folder: Path, gpu: str) -> Path:
    """Return where the results of that GPU are: its name in lower case, with dashes."""
    words = re.findall(r"[a-z0-9]+", gpu.lower())
    return folder / ("-".join(word for word in words if word not in ("nvidia", "tesla", "geforce")) + ".json")


def merge(folder: Path, content: dict[str, Any]) -> Path:
    """Add keys to the results of the GPU that `content` names, and replace those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = result_file(folder, content["gpu"])
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**before, **content}, indent=2) + "\n", encoding="utf-8")
    return file


def read_tests(file: Path) -> dict[str, Any]:
    """Return how many tests of a JUnit file ran and the names of those that did not pass."""
    counts: dict[str, Any] = {"passed": 0, "failed": [], "not_run": []}
    for case in xml.etree.ElementTree.parse(file).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            counts["failed"].append(name)
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            counts["not_run"].append(name)
        else:
            counts["passed"] += 1
    return counts


def all_passed(counts: dict[str, Any]) -> bool:
    """Tell whether there were tests, and every one ran and passed."""
    return bool(counts["passed"]) and not counts["failed"] and not counts["not_run"]


def main() -> None:
    """Add the results of tests to the file."""
    parser = argparse.ArgumentParser(description="Add test results to the results of this GPU.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--ctest", type=Path, required=True)
    parser.add_argument("--pytest", type=Path, required=True)
    parser.add_argument("--sanitizer", default="not run", help="clean, errors, or why it did not run")
    arguments = parser.parse_args()
    tests = {}
    for name in ("ctest", "pytest"):
        file = getattr(arguments, name)
        tests[name] = read_tests(file) if file.is_file() else {"passed": 0, "failed": [], "not_run": ["everything"]}
    content = {**gpu_description(arguments.device), "tests": {**tests, "compute-sanitizer": arguments.sanitizer}}
    print(f"test results are in {merge(arguments.folder, content)}")
    for name, counts in tests.items():
        print(f"{name}: {counts['passed']} passed, {len(counts['failed'])} failed, {len(counts['not_run'])} not run")
        for test in [*counts["failed"], *counts["not_run"]]:
            print(f"  {test}")
    sys.exit(0 if all(map(all_passed, tests.values())) and arguments.sanitizer in ("clean", "not run") else 1)


if __name__ == "__main__":
    main()
