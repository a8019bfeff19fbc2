"""The code of the documentation's pages, and what it finds when it is run: a Hub's cache, and files in the folder.

A page says what its reader would say, ids of large models and ``"cuda"`` among it. Here the ids are those of tiny
pipelines in a cache of the tests' own, and the device is the CPU.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import huggingface_hub
import torch
from safetensors.torch import save_file
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from sybil.region import Lexeme

import warpload
from families.registry import families_by_name

from . import gguf_files, loras, models, sharded, single_files
from .hub_cache import write_cache
from .pipelines import FAMILIES

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

# Ids that pages name -> the tiny family that is there by that id, and where pages have its folder.
REPOSITORIES = {
    "Qwen/Qwen-Image": "qwen-image",
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": "wan-2.2-image-to-video",
    "black-forest-labs/FLUX.1-dev": "flux",
    "hunyuanvideo-community/HunyuanVideo": "hunyuan-video",
    "my/pipeline": "stable-diffusion",
    "path/or/hub-id": "stable-diffusion-xl",
    "path/to/qwen-image": "qwen-image",
    "path/to/pipeline": "stable-diffusion-xl",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "stable-diffusion",
    "stabilityai/stable-diffusion-xl-base-1.0": "stable-diffusion-xl",
}
_WITH_TWO_SHARDS = {"wan-2.2-image-to-video"}


# -- what is in a page ------------------------------------------------------------------------------------------------


class _OnTheCpu(PythonEvaluator):
    """Runs a block as a machine without a GPU can."""

    def __call__(self, example: Example) -> None:
        told = example.parsed
        example.parsed = Lexeme(told.replace('"cuda"', '"cpu"'), told.offset, told.line_offset)
        super().__call__(example)


def blocks(page: Path, language: str) -> list[Example]:
    """Return the code blocks of a page in one language, in their order; they share one namespace."""
    parser = CodeBlockParser(language, _OnTheCpu() if language == "python" else None)
    return list(Document.parse(str(page), parser).examples())


def run(page: Path, section: str = "") -> dict[str, Any]:
    """Run the Python blocks of a page, or of one of its sections, one after the other.

    Args:
        page: its file.
        section: the section's heading, as it is written.

    Returns:
        The names that the blocks have defined.
    """
    chosen = blocks(page, "python")
    if section:
        begin, end = _extent(page.read_text(encoding="utf-8"), section)
        chosen = [each for each in chosen if begin <= each.region.start < end]
    assert chosen, f"{page.name} has no Python in {section!r}"
    for each in chosen:
        each.evaluate()
    namespace: dict[str, Any] = chosen[-1].namespace
    return namespace


def _extent(text: str, section: str) -> tuple[int, int]:
    heading = re.search(rf"^(#+) {re.escape(section)}$", text, re.MULTILINE)
    assert heading, f"there is no section {section!r}"
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", text[heading.end() :], re.MULTILINE)
    return heading.start(), heading.end() + following.start() if following else len(text)


# -- what it finds ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def world(folder: Path) -> Iterator[None]:
    """Be in a folder that has what pages name, beside a Hub's cache with their repositories; leave all as it was."""
    logger = logging.getLogger("warpload")
    level, before = logger.level, Path.cwd()
    with mock.patch.dict(os.environ), mock.patch.object(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub")):
        os.chdir(folder / "here")
        try:
            yield
        finally:
            os.chdir(before)
            warpload.uninstall()
            logger.setLevel(level)


def furnish(folder: Path) -> Path:
    """Write into an empty folder what ``world`` needs, and return it."""
    here = folder / "here"
    here.mkdir()
    for name, family in REPOSITORIES.items():
        _write_family(family, folder / family)
        if name.startswith(("my/", "path/")):
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).symlink_to(folder / family)
        else:
            write_cache(folder / family, folder / "hub", name)
    models.vae().save_pretrained(folder / "vae")
    write_cache(folder / "vae", folder / "hub", "madebyollin/sdxl-vae-fp16-fix")
    _write_files(here)
    return folder


def _write_family(family: str, place: Path) -> None:
    if place.exists():
        return
    pipeline = FAMILIES[family]() if family in FAMILIES else families_by_name()[family]()
    pipeline.save_pretrained(place, **({"max_shard_size": "4KB"} if family in _WITH_TWO_SHARDS else {}))
    if family == "stable-diffusion-xl":
        (place.parent / "here" / "path" / "to" / "lora").mkdir(parents=True)
        tensors = loras.peft(pipeline, dtype=torch.float16)
        loras.save(tensors, place.parent / "here" / "path" / "to" / "lora" / "pixel-art.safetensors")


def _write_files(here: Path) -> None:
    """Write the files that pages open by name."""
    published = single_files.publish("stable-diffusion", here / "path" / "to" / "published")
    Path(published.file).rename(here / "v1-5-pruned-emaonly.safetensors")
    (here / "path" / "to" / "stable-diffusion").symlink_to(published.folder)
    gguf_files.FLUX().save_pretrained(here / "path" / "to" / "flux" / "transformer")
    gguf_files.write(here / "flux1-dev-Q4_K_S.gguf", gguf_files.flux(gguf_files.Type.Q4_K))
    tensors = {name: torch.randn(4, 4) for name in ("a", "b", "c")}
    save_file(tensors, here / "model.safetensors")
    (here / "sharded").mkdir()
    save_file(tensors, here / "sharded" / "model.safetensors")
    sharded.shard(here / "sharded")
