"""A cached snapshot with a hole is not taken for complete: the Hub is asked, and the result is stock's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import diffusers
import pytest
import transformers
from huggingface_hub import get_cached_repo_tree

import warpload
from support import models
from support.hub_cache import REPOSITORY, break_file, names_of, write_cache, write_known_absent, write_listing
from support.hub_server import HubServer
from support.pipelines import Saved
from support.processes import run_python
from warpload.pipelines.snapshot import complete_snapshot
from warpload.stock import hub

HOLES = ("missing", "dangling", "empty", "a folder", "unfinished")


@pytest.fixture
def snapshot(saved: Saved, tmp_path: Path) -> Path:
    """Return the snapshot of a cache that has all of a repository."""
    return write_cache(saved("stable-diffusion"), tmp_path / "hub")


@pytest.fixture
def hub_server(saved: Saved) -> Iterator[HubServer]:
    """Return a Hub that has the same repository."""
    with HubServer(saved("stable-diffusion")) as server:
        yield server


def is_complete(snapshot: Path, **options: object) -> bool:
    return complete_snapshot(REPOSITORY, {"cache_dir": snapshot.parents[2], **options}) is not None


def make_holes(snapshot: Path, how: str) -> list[str]:
    """Make each file a hole in turn; return the names of those with which the snapshot passed for complete."""
    passed = []
    kept = snapshot.parents[3] / "kept"
    shutil.copytree(snapshot.parents[2], kept, symlinks=True)
    for name in names_of(snapshot):
        break_file(snapshot / name, how)
        if is_complete(snapshot):
            passed.append(name)
        shutil.rmtree(snapshot.parents[2])
        shutil.copytree(kept, snapshot.parents[2], symlinks=True)
    assert is_complete(snapshot)
    return passed


@pytest.mark.parametrize("listed", [True, False], ids=["with a listing", "without a listing"])
@pytest.mark.parametrize("how", HOLES)
def test_whatever_file_is_a_hole_the_snapshot_is_incomplete(how: str, listed: bool, snapshot: Path) -> None:
    if listed:
        write_listing(snapshot)

    assert make_holes(snapshot, how) == []


@pytest.mark.parametrize("how", HOLES)
def test_a_shard_that_is_a_hole_makes_the_snapshot_incomplete(how: str, copied: Saved, tmp_path: Path) -> None:
    folder = copied("ddpm")
    shutil.rmtree(folder / "unet")
    models.unconditional_unet().save_pretrained(folder / "unet", max_shard_size="20KB")
    snapshot = write_cache(folder, tmp_path / "hub")

    assert len(list(snapshot.glob("unet/*-of-*"))) > 1
    assert make_holes(snapshot, how) == []


@pytest.mark.parametrize("how", HOLES)
def test_a_file_of_a_variant_that_is_a_hole_makes_the_snapshot_incomplete(
    how: str, copied: Saved, tmp_path: Path
) -> None:
    folder = copied("stable-diffusion")
    diffusers.DiffusionPipeline.from_pretrained(folder).save_pretrained(folder, variant="fp16")
    snapshot = write_cache(folder, tmp_path / "hub")
    write_listing(snapshot)
    assert is_complete(snapshot, variant="fp16")

    break_file(snapshot / "vae" / "diffusion_pytorch_model.fp16.safetensors", how)

    assert not is_complete(snapshot, variant="fp16")
    assert is_complete(snapshot)


@pytest.mark.parametrize("bytes_left", [0, 40])
def test_an_index_cut_short_makes_the_snapshot_incomplete(bytes_left: int, snapshot: Path) -> None:
    index = snapshot / "model_index.json"
    index.write_bytes(index.read_bytes()[:bytes_left])

    assert not is_complete(snapshot)


def test_a_file_of_another_size_than_listed_makes_the_snapshot_incomplete(snapshot: Path) -> None:
    write_listing(snapshot)
    assert is_complete(snapshot)
    with (snapshot / "scheduler" / "scheduler_config.json").open("a") as file:
        file.write(" ")

    assert not is_complete(snapshot)


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer/added_tokens.json",
        "tokenizer/chat_template.jinja",
        "tokenizer/additional_chat_templates/other.jinja",
        "feature_extractor/processor_config.json",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/unet.py",
    ],
)
def test_a_listed_file_that_was_never_fetched_makes_the_snapshot_incomplete(name: str, snapshot: Path) -> None:
    if name == "unet/unet.py":  # a component with code of its own
        index = snapshot / "model_index.json"
        entries = json.loads(index.read_text())
        index.write_text(json.dumps({**entries, "unet": ["unet", "OwnUnet"]}))
    write_listing(snapshot)
    write_listing(snapshot, name)

    assert not is_complete(snapshot)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "text_encoder/pytorch_model.bin",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/generation_config.json",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
    ],
)
def test_a_listed_file_that_stock_does_not_fetch_is_not_missed(name: str, snapshot: Path) -> None:
    write_listing(snapshot, name)

    assert is_complete(snapshot)


def test_the_listing_is_the_one_that_huggingface_hub_keeps(snapshot: Path) -> None:
    write_listing(snapshot)

    kept = get_cached_repo_tree(REPOSITORY, cache_dir=snapshot.parents[2])

    found = hub.cached_snapshot(REPOSITORY, {"cache_dir": snapshot.parents[2]})
    assert found is not None
    assert found.listing == {file.path: file.size for file in kept}


def as_written_before(snapshot: Path) -> None:
    """Leave the settings as a version of transformers wrote them that had other files beside them."""
    (snapshot / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')


def with_another_class(snapshot: Path) -> None:
    index = snapshot / "model_index.json"
    entries = json.loads(index.read_text())
    index.write_text(json.dumps({**entries, "tokenizer": ["transformers", "Qwen2Tokenizer"]}))


@pytest.mark.parametrize(
    ("change", "may_be"),
    [
        (as_written_before, ["special_tokens_map.json", "added_tokens.json"]),
        (with_another_class, ["chat_template.jinja"]),
    ],
)
def test_without_a_listing_a_file_that_may_be_has_to_be_known_absent(
    change: Callable[[Path], None], may_be: list[str], snapshot: Path
) -> None:
    change(snapshot)
    for name in may_be:
        assert not is_complete(snapshot)
        write_known_absent(snapshot, f"tokenizer/{name}")

    assert is_complete(snapshot)


def test_an_empty_reference_names_no_snapshot(snapshot: Path) -> None:
    (snapshot.parents[1] / "refs" / "main").write_text("")

    assert hub.cached_snapshot(REPOSITORY, {"cache_dir": snapshot.parents[2]}) is None


# Says what each call comes to and how many requests it makes: stock's first, then ours.
OUTCOMES = """
import contextlib, json, os, sys, urllib.request
cache, endpoint = sys.argv[1:3]
os.environ.update(HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
import diffusers, transformers, warpload
from support.compare import assert_same_pipeline
where = {"cache_dir": cache}
NAME = "warpload-tests/tiny"
def requests():
    return json.load(urllib.request.urlopen(f"{endpoint}/requests"))
def load(library, call):
    requests()
    with contextlib.nullcontext() if library is diffusers else warpload.accelerated():
        loaded = call(library)
    return loaded, requests()
"""

LOADS = (
    "library.DiffusionPipeline.from_pretrained(NAME, **where)",
    'library.AutoModel.from_pretrained(NAME, subfolder="unet", **where)',
    'library.DDIMScheduler.from_pretrained(NAME, subfolder="scheduler", **where)',
    'transformers.CLIPTextModel.from_pretrained(NAME, subfolder="text_encoder", **where)',
)


@pytest.mark.parametrize("load", LOADS)
def test_after_a_whole_download_by_stock_nothing_is_asked(load: str, hub_server: HubServer, tmp_path: Path) -> None:
    process = run_python(
        f"{OUTCOMES}\ncall = lambda library: {load}\n"
        "print(len(load(diffusers, call)[1]), len(load(diffusers, call)[1]), len(load(warpload, call)[1]))",
        *(tmp_path / "cache", hub_server.endpoint),
    )

    downloading, again, ours = map(int, process.stdout.split()[-3:])
    assert downloading > again > 0
    assert ours == 0


@pytest.mark.parametrize("how", ["missing", "dangling"])
def test_holes_are_filled_and_the_pipeline_is_stocks(how: str, hub_server: HubServer, tmp_path: Path) -> None:
    """Each file in turn is a hole in the cache that stock's download has filled."""
    process = run_python(
        f"""{OUTCOMES}
from pathlib import Path
from support.hub_server import HubServer
from support.hub_cache import break_file, names_of
call = lambda library: library.DiffusionPipeline.from_pretrained(NAME, **where)
stock, _ = load(diffusers, call)
snapshot = next(Path(cache).glob("models--*/snapshots/*"))
for name in names_of(snapshot):
    break_file(snapshot / name, {how!r})
    ours, asked = load(warpload, call)
    assert (snapshot / name).is_file(), name
    assert asked, name
    assert_same_pipeline(ours, stock)
    print("filled", name)
""",
        *(tmp_path / "cache", hub_server.endpoint),
    )

    assert process.stdout.count("filled") == len(hub_server.names)


@pytest.mark.parametrize(("known", "asked"), [("absent", False), ("nothing", True)])
def test_a_model_that_generates_is_complete_once_its_settings_are_known(
    known: str, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pipeline"
    models.causal_language_model().save_pretrained(folder / "model")
    (folder / "model" / "generation_config.json").unlink()
    snapshot = write_cache(folder, tmp_path / "hub")
    monkeypatch.setattr(hub, "is_offline", lambda: False)
    if known == "absent":
        write_known_absent(snapshot, "model/generation_config.json")

    with warpload.accelerated():
        transformers.GPT2LMHeadModel.from_pretrained(REPOSITORY, subfolder="model", cache_dir=snapshot.parents[2])

    report = warpload.last_report()
    assert report is not None
    assert report.placed_by_stock == ({"model": "not in the cache yet"} if asked else {})
