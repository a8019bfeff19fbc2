"""docs/troubleshooting.md quotes messages that are raised, and leaves out none that a user can meet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from warpload import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CORE = sorted(path for ending in ("cpp", "hpp") for path in (ROOT / "csrc").rglob(f"*.{ending}"))
PACKAGE = ROOT / "python" / "warpload"
# What commands refuse they say by themselves, with the cure; it is caught by nobody.
COMMANDS = {"bench", "converting", "demo", "doctoring", "inspecting", "measuring", "verifying", "cli.py"}
LAYER = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in COMMANDS)

VARIES = "…"

# What is wrong in a text of JSON is told behind words of the header's, or of the index's.
_WORDED_BY_CALLERS = {"json.cpp", "json_number.cpp", "json_string.cpp"}

_LITERAL = r'"(?:[^"\\\n]|\\.)*"'
_LITERALS = re.compile(rf"{_LITERAL}(?:\s*\+?\s*{_LITERAL})*")
# Where the core names what is wrong: a field of the error's, or a function that throws it.
_SITES = re.compile(
    r"(?:\.reason\s*=\s*(?:\w[^\"\n;]*[?(]\s*)?|\brefuse(?:_all)?\(\s*(?:(?:token|entry),\s*)?|\bcancel\()"
    r"(?:std::string\()?(?=\")"
)
# Functions of the Python layer that make errors, by what of their arguments is the message.
_MAKERS = {
    **dict.fromkeys(("Cancelled", "DeviceError", "InvalidArgumentError", "OutOfMemoryError", "WarploadError"), 0),
    **dict.fromkeys(("_changed", "_refused", "wrong_type", "_wrong"), 0),
    **dict.fromkeys(("make", "_unencodable"), 1),
    **dict.fromkeys(("_no_cast", "_refusal"), 2),
}


def without_comments(text: str) -> str:
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def template(source: str, at: int) -> str:
    """Return the message that begins at a literal, with a mark for each thing that is put into it."""
    found = ""
    while literals := _LITERALS.match(source, at):
        found += literal(literals[0])
        literal_end = literals.end() + (source[literals.end()] == ")")  # of std::string("...")
        at = end_of_operand(source, literal_end)
        if at == literal_end:
            break
        found += VARIES
    return found


def end_of_operand(source: str, at: int) -> int:
    """Return where the literal is, or the expression ends, behind what is added to a literal; ``at`` if nothing is."""
    if not re.match(r"\s*\+", source[at:]):
        return at
    depth = 0
    for place in range(at, len(source)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(source[place], 0)
        if depth < 0 or (depth == 0 and source[place] in '",;'):
            return place
    return len(source)


def literal(source: str) -> str:
    """Return what adjacent literals of C++ say together."""
    return "".join(part.replace('\\"', '"') for part in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source))


def text_of(node: ast.expr) -> str:
    """Return a string of Python, with a mark for each thing that is put into it; the empty string for what is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp):
        return (text_of(node.left) or VARIES) + (text_of(node.right) or VARIES)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else VARIES for part in node.values)
    return ""


def strings_of(path: Path) -> Iterator[str]:
    if path.suffix != ".py":
        yield from map(literal, _LITERALS.findall(without_comments(path.read_text(encoding="utf-8"))))
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.expr) and (text := text_of(node)):
            yield text.replace("%s", VARIES).replace("%d", VARIES)


def messages() -> set[str]:
    """Return the messages that the core and the Python layer make errors of."""
    found = set()
    for path in CORE:
        if path.name in _WORDED_BY_CALLERS:
            continue
        text = without_comments(path.read_text(encoding="utf-8"))
        found |= {template(text, site.end()) for site in _SITES.finditer(text)}
    for path in LAYER:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = _MAKERS.get(name)
            if place is not None and len(node.args) > place:
                found.add(text_of(node.args[place]))
    return {each for each in found if len(each.strip(f" {VARIES}:")) > 3}


def quoted() -> list[str]:
    """Return the messages of the page: what is code in the first cells of its tables, and in its list for C++."""
    cells = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    cells.append(PAGE.partition("### In C++ and C only")[2].partition("\n## ")[0])
    names = {"WarploadError", "print(report)"}
    return [each for cell in cells for each in re.findall(r"`([^`]+)`", cell) if each not in names]


def fragments(message: str) -> list[str]:
    return [part.strip() for part in message.split(VARIES) if len(part.strip(" ,.:;'\"")) > 3]


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 150
    assert len(messages()) > 120


def test_every_message_that_the_page_quotes_stands_in_the_sources() -> None:
    known = [text for path in (*CORE, *LAYER) for text in strings_of(path)]

    made_up = {
        message for message in quoted() if not all(any(part in text for text in known) for part in fragments(message))
    }

    assert made_up == set()


def test_every_message_of_the_sources_is_on_the_page() -> None:
    told = [fragments(message) for message in quoted()]

    def is_told(message: str) -> bool:
        """Tell whether the parts of a quoted message are in this one, in order, and make up half of it at least."""
        return any(
            parts
            and re.search(".*".join(map(re.escape, parts)), message, re.DOTALL)
            and 2 * sum(map(len, parts)) >= len(message.replace(VARIES, ""))
            for parts in told
        )

    assert {message for message in messages() if not is_told(message)} == set()


@pytest.mark.parametrize("name", errors.__all__)
def test_every_class_of_errors_has_a_section_and_a_row(name: str) -> None:
    assert re.search(rf"^## {name}$", PAGE, re.MULTILINE)
    assert re.search(rf"^\| \[?`{name}`", PAGE, re.MULTILINE)
