"""The tree that `warpload inspect` shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text
from rich.tree import Tree

from warpload import dtypes
from warpload.inspecting.findings import Amount, Component, File, Findings, Tensor, amount, by_dtype
from warpload.strings import shown
from warpload.units import counted, size

_STYLES = {"native": "green", "read natively": "green", "stock": "yellow", "no weights": "dim", "fails": "bold red"}
_WHO = {"read natively": "read natively, placed by stock"}


def tree_of(findings: Findings, *, with_tensors: bool) -> Tree:
    """Render what was found.

    Args:
        findings: to be shown.
        with_tensors: a line of each tensor, too.
    """
    tree = Tree(_title(findings), highlight=False)
    for told in _lines_of_repository(findings):
        tree.add(_text(told))
    for component in findings.components:
        branch = tree.add(_head(component))
        for line in _lines_of(component):
            branch.add(line)
        for file in component.files:
            leaf = branch.add(_line_of_file(file))
            for tensor in file.tensors if with_tensors else ():
                leaf.add(_text(_line_of_tensor(tensor)))
    return tree


def _text(text: str, style: str = "") -> Text:
    return Text(shown(text), style=style)


def _title(findings: Findings) -> Text:
    parts = [findings.source, findings.class_name, _counted(findings.tensors, findings.file_count)]
    return _text("  ".join(filter(None, parts)), style="bold")


def _lines_of_repository(findings: Findings) -> Iterator[str]:
    if findings.repository is None:
        return
    yield f"{findings.repository['id']} at {findings.repository['commit']}, in {findings.path}"
    if findings.repository["complete"] is False:
        yield "the Hub's cache may lack some of it: each load asks the Hub"


def _head(component: Component) -> Text:
    named = f"{component.library}.{component.class_name}" if component.library else ""
    head = _text("  ".join(filter(None, (component.name, named))) + "  ")
    head.append(_WHO.get(component.who, component.who), style=_STYLES[component.who])
    if component.reason:
        head.append(shown(f": {component.reason}"))
    return head


def _lines_of(component: Component) -> Iterator[Text]:
    if component.tensors:
        yield _text(f"{_counted(component.tensors, len(component.files))}{_default_dtype(component)}")
    if component.index:
        yield _text(f"{component.index} lists {len(component.files)} files")
    for sentence in component.oddities:
        yield _text(f"odd: {sentence}", style="yellow")
    if component.others:
        yield _text(f"left alone: {', '.join(component.others)}", style="dim")


def _default_dtype(component: Component) -> str:
    """Say what becomes of the numbers where the call names no dtype."""
    if component.dtype is None:
        return ""
    cast = amount(
        each for each in component.tensors if each.dtype in dtypes.FLOATING_POINT and each.dtype != component.dtype
    )
    casting = f", casting {_amount(cast)}," if cast.tensors else ""
    return f"; as {dtypes.torch_name(component.dtype)}{casting} unless another dtype is asked for"


def _line_of_file(file: File) -> Text:
    line = _text(f"{file.path}  {file.format}, {size(file.bytes)}")
    if file.problem:
        line.append(shown(f"  {file.problem}"), style="bold red")
    if file.data_offset is None:
        return line
    offset = file.data_offset
    line.append(f", data at byte {offset:,} (modulo 64: {offset % 64}, modulo 4096: {offset % 4096})")
    if not file.mappable:
        line.append("; copied: must not be mapped", style="yellow")
    elif file.misaligned.tensors:
        line.append(f"; {_amount(file.misaligned)} lie misaligned for their dtype and are copied", style="yellow")
    else:
        line.append("; all can be mapped")
    return line


def _line_of_tensor(tensor: Tensor) -> str:
    shape = list(tensor.shape)
    told = f"{tensor.name}  {tensor.dtype} {shape}, {size(tensor.bytes)} at {tensor.offset:,}"
    return told if tensor.aligned else f"{told}, misaligned"


def _counted(tensors: Iterable[Tensor], file_count: int) -> str:
    tensors = list(tensors)
    if not tensors:
        return ""
    kinds = ", ".join(f"{dtype} {size(each.bytes)} ({each.tensors:,})" for dtype, each in by_dtype(tensors).items())
    files = f" in {file_count:,} files" if file_count > 1 else ""
    return f"{_amount(amount(tensors))}{files}: {kinds}"


def _amount(some: Amount) -> str:
    return f"{counted(some.tensors, 'tensor')} ({size(some.bytes)})"
