"""What was found out about a subject: plain data, which the tree shows and `--json` writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# Grows where a field is removed or means something else.
SCHEMA = 1

# Who loads a component: the core; the core reads, stock places; stock alone; nobody, as it has no weights; nobody can.
Who = Literal["native", "read natively", "stock", "no weights", "fails"]


@dataclass(frozen=True)
class Amount:
    """How much there is of something.

    Attributes:
        tensors: how many.
        bytes: of their data.
    """

    tensors: int
    bytes: int


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        name: its name there.
        dtype: the format's code, or the type of a GGUF file's blocks.
        shape: as in the file; of blocks, that of their bytes.
        bytes: of its data.
        offset: its first byte in the file.
        aligned: whether it lies as its dtype has to, to be mapped.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    offset: int
    aligned: bool


@dataclass(frozen=True)
class File:
    """One file of weights.

    Attributes:
        path: from the subject's folder.
        format: "safetensors", "GGUF", or "pickle" and others by their suffix, which the core does not open.
        bytes: of the file.
        data_offset: where its tensors begin; None where it has none, or was not opened.
        tensors: of it, where it was opened.
        mappable: whether files of this file system may be mapped.
        problem: why the core cannot open it; empty where it can.
        blocks: of quantised tensors of a GGUF file, the types that the core does not turn into numbers.
        metadata: of its header.
    """

    path: str
    format: str
    bytes: int
    data_offset: int | None = None
    tensors: tuple[Tensor, ...] = ()
    mappable: bool = True
    problem: str = ""
    blocks: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def misaligned(self) -> Amount:
        """The tensors that are copied because they do not lie as their dtype has to."""
        return amount(each for each in self.tensors if not each.aligned)

    @property
    def mapped(self) -> Amount:
        """The tensors that can be views of the file, as long as nobody asks for another dtype."""
        return amount(each for each in self.tensors if each.aligned and self.mappable)


@dataclass(frozen=True)
class Component:
    """A component of a pipeline, a model, or a file.

    Attributes:
        name: in the pipeline; of a model the folder's, of a file its path.
        library: that has its class; empty for a file.
        class_name: its class; empty for a file.
        who: loads it.
        reason: why it is not the core alone, or what has to be known.
        dtype: the code of the dtype that floating-point tensors get where the call names none; None where each keeps
            its own.
        index: the index that lists its files; empty where there is none.
        files: that a load takes.
        others: further files of weights in its folder, which a load leaves alone.
        oddities: what is odd about its files although they can be loaded.
    """

    name: str
    library: str
    class_name: str
    who: Who
    reason: str = ""
    dtype: str | None = None
    index: str = ""
    files: tuple[File, ...] = ()
    others: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors of all of its files."""
        return [tensor for file in self.files for tensor in file.tensors]


@dataclass(frozen=True)
class Findings:
    """What was found out.

    Attributes:
        source: the path or id.
        path: the folder or file.
        kind: "pipeline", "model", "files" or "file".
        class_name: of the pipeline; empty for anything else.
        repository: of the Hub: "id", "commit" and whether it is "complete"; None for what is not from its cache.
        components: in the order of the pipeline's index.
        problems: what keeps it from being loaded, a sentence each.
    """

    source: str
    path: str
    kind: str
    class_name: str
    repository: dict[str, Any] | None
    components: tuple[Component, ...]
    problems: tuple[str, ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors of all components."""
        return [tensor for component in self.components for tensor in component.tensors]

    @property
    def file_count(self) -> int:
        """How many files a load takes."""
        return sum(len(component.files) for component in self.components)


def amount(tensors: Iterable[Tensor]) -> Amount:
    """Count tensors and their bytes."""
    sizes = [each.bytes for each in tensors]
    return Amount(len(sizes), sum(sizes))


def by_dtype(tensors: Iterable[Tensor]) -> dict[str, Amount]:
    """Count tensors and their bytes by dtype, the most bytes first."""
    found: dict[str, list[Tensor]] = {}
    for each in tensors:
        found.setdefault(each.dtype, []).append(each)
    counted = {dtype: amount(those) for dtype, those in found.items()}
    return dict(sorted(counted.items(), key=lambda item: -item[1].bytes))


def as_json(findings: Findings, *, with_tensors: bool) -> dict[str, Any]:
    """Return what `--json` writes.

    Args:
        findings: to be written.
        with_tensors: a line of each tensor, too.
    """
    return {
        "schema": SCHEMA,
        "source": findings.source,
        "path": findings.path,
        "kind": findings.kind,
        "class": findings.class_name or None,
        "repository": findings.repository,
        **_counted(findings.tensors),
        "files": findings.file_count,
        "components": [_component(each, with_tensors) for each in findings.components],
        "problems": list(findings.problems),
    }


def _counted(tensors: list[Tensor]) -> dict[str, Any]:
    return {
        "tensors": len(tensors),
        "bytes": amount(tensors).bytes,
        "dtypes": {dtype: asdict(each) for dtype, each in by_dtype(tensors).items()},
    }


def _component(component: Component, with_tensors: bool) -> dict[str, Any]:
    return {
        "name": component.name,
        "library": component.library or None,
        "class": component.class_name or None,
        "loads": component.who,
        "reason": component.reason or None,
        "dtype": component.dtype,
        **_counted(component.tensors),
        "index": component.index or None,
        "files": [_file(each, with_tensors) for each in component.files],
        "others": list(component.others),
        "oddities": list(component.oddities),
    }


def _file(file: File, with_tensors: bool) -> dict[str, Any]:
    counted = _counted(list(file.tensors))
    offset = file.data_offset
    found = {
        "path": file.path,
        "format": file.format,
        "file_bytes": file.bytes,
        **counted,
        "data_offset": offset,
        "data_offset_modulo_64": None if offset is None else offset % 64,
        "data_offset_modulo_4096": None if offset is None else offset % 4096,
        "mappable": asdict(file.mapped),
        "misaligned": asdict(file.misaligned),
        "packed_only": list(file.blocks),
        "metadata": file.metadata,
        "problem": file.problem or None,
    }
    if with_tensors:
        found["tensor_list"] = [asdict(each) for each in file.tensors]
    return found
