"""What the pages show works: every block of Python is run, every command's words are ones that it has."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer

from support import pages
from support.pages import PAGES, ROOT
from warpload.cli import application

# Those of integrations need packages and servers of their own: their tests run them.
WITH_PYTHON = [page for page in PAGES if page.parent.name != "integrations" and pages.blocks(page, "python")]
SHELLS = ("bash", "sh", "shell", "console")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_every_block_of_python_runs(page: Path, furnished: Path) -> None:
    with pages.world(furnished):
        pages.run(page)


def unfolded(script: str) -> list[str]:
    return script.replace("\\\n", " ").splitlines()


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the words of each call of a program in a page's shell blocks and in its code between backticks."""
    text = page.read_text(encoding="utf-8")
    shown = [block.parsed for shell in SHELLS for block in pages.blocks(page, shell)]
    lines = [line for script in shown for line in unfolded(script)]
    lines += re.findall(rf"`({program} [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    called = [line for line in lines if line.removeprefix(".venv/bin/").startswith(f"{program} ")]
    words = [shlex.split(line, comments=True)[1:] for line in called]
    return [list(itertools.takewhile(lambda word: word not in ("|", "&&", ">"), each)) for each in words]


def test_pages_show_commands() -> None:
    assert sum(len(commands(page, "warpload")) for page in PAGES) > 20
    assert sum(len(commands(page, "make")) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_of_the_command_that_a_page_names_exists(page: Path) -> None:
    group = typer.main.get_command(application)
    for words in commands(page, "warpload"):
        if words[0].startswith("--"):
            known = {option for parameter in group.params for option in parameter.opts}
            assert {words[0]} <= known | {"--help", "--install-completion", "--show-completion"}, words
            continue
        command = group.commands[words[0]]  # type: ignore[attr-defined]
        given = [word for word in words[1:] if word != "--help" and not re.fullmatch(r"\[[\w=-]+\]|\.\.\.", word)]
        command.make_context(words[0], [*given], resilient_parsing=True)  # it takes the words out of the list
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word.partition("=")[0] for word in given if word.startswith("--")} <= options, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_target_and_variable_of_make_that_a_page_names_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \??:?=", makefile, re.MULTILINE)) | {"CXX"}
    for words in commands(page, "make"):
        assert {word for word in words if "=" not in word} <= targets, words
        assert {word.partition("=")[0] for word in words if "=" in word} <= variables, words
