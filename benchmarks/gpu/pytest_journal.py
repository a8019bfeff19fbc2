"""A plugin of pytest: every outcome goes to the suite's journal when it is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .journal import JOURNAL_PATH, Journal

_journal = Journal(Path(os.environ[JOURNAL_PATH]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note how many tests there are, so that it shows when some did not run; of several workers the first does."""
    items = getattr(session, "items", [])
    if items and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        running = not session.config.option.collectonly
        _journal.add("collected", suite="pytest", tests=len(items) if running else 0, found=len(items))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test's outcome; a failure before or after it is one too."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    message = str(report.longrepr)[-2000:] if report.longrepr else ""
    fields = {"outcome": report.outcome, "seconds": report.duration, "message": message}
    _journal.add("test", suite="pytest", name=report.nodeid, **fields)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file that cannot be imported: none of its tests can run."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        message = str(report.longrepr)[-2000:]
        _journal.add("test", suite="pytest", name=report.nodeid, outcome="failed", seconds=0.0, message=message)
