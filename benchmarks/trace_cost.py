"""What recording a timeline costs a load: the same pipeline, or file, with and without, in turn, in one process.

    python benchmarks/trace_cost.py PATH_OR_ID_OR_FILE --dtype bfloat16 --runs 15 --json trace_cost.json

Each round loads twice, once recorded and once not, the one that begins in turn the one and the other; what was loaded
is dropped before the next load. Told are the medians of both and of their differences, and the best of both, as seconds
and as processor time, which other programs disturb less. Memory that a virtual machine's host has taken back disturbs
both: with a small file it matters less. The first load, which brings the files into the page cache, does not count.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any


def load(source: str, dtype: str, recorded: bool) -> dict[str, float]:
    """Load once, and return seconds, processor time and how many events the core recorded."""
    import torch

    import warpload

    with warpload.LoadOptions(trace=recorded):
        begun, processor = time.perf_counter(), time.process_time()
        loaded: Any
        if Path(source).is_file():
            loaded = warpload.load_file(source, dtype=dtype)
        else:
            loaded = warpload.DiffusionPipeline.from_pretrained(source, dtype=getattr(torch, dtype))
        taken = {"seconds": time.perf_counter() - begun, "processor": time.process_time() - processor}
    report = warpload.last_report()
    assert report is not None
    del loaded
    gc.collect()
    return {**taken, "events": sum(event.is_of_core for event in report.timeline.events())}


def main() -> None:
    """Measure, print, and keep every run where a file for it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load(given.source, given.dtype, False)
    found: dict[str, list[dict[str, float]]] = {"plain": [], "recorded": []}
    for number in range(given.runs):
        for name in ("plain", "recorded") if number % 2 == 0 else ("recorded", "plain"):
            found[name].append(load(given.source, given.dtype, name == "recorded"))
        print(number, *(f"{name} {runs[-1]['seconds']:.4f} s" for name, runs in found.items()), flush=True)
    for figure in ("seconds", "processor"):
        plain, recorded = ([run[figure] for run in found[name]] for name in ("plain", "recorded"))
        median = statistics.median(plain)
        difference = statistics.median(one - other for one, other in zip(recorded, plain, strict=True))
        print(
            f"{figure}: {median:.4f} without, {statistics.median(recorded):.4f} recorded; best {min(plain):.4f} and"
            f" {min(recorded):.4f}; difference, median of {given.runs} pairs: {1000 * difference:+.1f} ms,"
            f" {difference / median:+.2%}"
        )
    print(f"events: {found['recorded'][-1]['events']:,.0f}; load average {os.getloadavg()[0]:.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
