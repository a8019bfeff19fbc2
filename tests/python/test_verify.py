"""`warpload verify` finds nothing where both loaders agree, and every kind of difference where one is put in."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
from click.testing import Result

from support import checkpoints, commands, forked_loads, gguf_files, hub_cache, models
from support.hub_server import HubServer
from support.pipelines import MODELS, Saved
from support.processes import run_python
from support.sharded import shard
from warpload.inspecting.subject import find_subject
from warpload.verifying import comparing, hub_hashes, likeness, verification


@pytest.fixture(autouse=True)
def _forked_loads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the loads in children that have the libraries imported, but for tests that ask for fresh processes."""
    if "fresh_processes" not in request.fixturenames:
        monkeypatch.setattr(comparing, "run_process", forked_loads.run_process)


@pytest.fixture
def fresh_processes() -> None:
    """Have the loads where they are for a user."""


def verify(*arguments: object) -> Result:
    return commands.run("verify", *arguments)


def found(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Return what `--json` writes; nothing else may be on the standard output."""
    return commands.told("verify", *arguments, status=status)


# -- what is the same -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fresh_processes")
@pytest.mark.parametrize("family", ["stable-diffusion", "flux"])
def test_a_pipeline_is_compared_down_to_its_last_buffer(family: str, saved: Saved) -> None:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(saved(family), torch_dtype=torch.float16)

    told = found(saved(family), "--dtype", "float16")

    assert told["equal"] is True
    assert told["differences"] == []
    assert told["components"] == dict.fromkeys(MODELS[family], "native")
    held = [each for each in pipeline.components.values() if isinstance(each, torch.nn.Module)]
    tensors = [name for each in held for name, _ in each.named_parameters(remove_duplicate=False)]
    tensors += [name for each in held for name, _ in each.named_buffers(remove_duplicate=False)]
    assert told["counted"]["tensor"] >= len(tensors)
    assert told["counted"]["component"] == len(pipeline.components) + 1


def test_a_component_that_stock_loads_is_named(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    checkpoints.as_pickles(folder, "unet")

    result = verify(folder)

    assert result.exit_code == 0, result.output
    assert "all equal, bit for bit: " in result.stdout
    assert "loaded by stock in both: unet (no safetensors, but" in result.stdout


def test_where_the_core_loads_nothing_nothing_is_verified(copied: Saved) -> None:
    folder = copied("ddpm")
    checkpoints.as_pickles(folder, "unet")

    result = verify(folder)

    assert result.exit_code == 1
    assert "nothing was loaded by the core" in result.stdout
    assert "all equal" not in result.stdout


def test_models_and_parts_of_pipelines_are_compared(saved: Saved, tmp_path: Path) -> None:
    models.causal_language_model().save_pretrained(tmp_path / "model")

    for folder in (tmp_path / "model", saved("stable-diffusion") / "safety_checker", saved("ddpm") / "unet"):
        told = found(folder)
        assert told["equal"] is True, told
        assert told["kind"] == "model"
        assert told["counted"]["tensor"] > 0
    assert found(tmp_path / "model")["counted"]["tie"] >= 2  # the embeddings, by two names


@pytest.mark.parametrize("dtype", ["none", "bfloat16"])
def test_files_are_compared_with_what_their_own_package_reads(dtype: str, mixed: Path, tmp_path: Path) -> None:
    packed = gguf_files.write(tmp_path / "model.gguf", gguf_files.assorted())
    (tmp_path / "unet").mkdir()
    models.unconditional_unet().save_pretrained(tmp_path / "unet")
    index = shard(tmp_path / "unet")
    held = {name: each for name, each in safetensors.torch.load_file(mixed).items() if each.dtype.itemsize > 1}
    plain = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(held, plain)

    for file in (mixed if dtype == "none" else plain, packed, index):
        result = verify(file, "--dtype", dtype)
        assert result.exit_code == 0, (file, result.output)
        assert "all equal, bit for bit: " in result.stdout


# -- what is not ------------------------------------------------------------------------------------------------------


WRONG = """
import os, sys
from pathlib import Path
from warpload.verifying import fresh_load
right = fresh_load.load
def wrong(arguments):
    loaded = right(arguments)
    if arguments.loader == "warpload":
        change(loaded)
    return loaded
def change(loaded):
    import torch
    with torch.no_grad():
        {change}
fresh_load.load = wrong
fresh_load.main()
"""


def put_in(change: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have warpload's load go wrong."""
    program = folder / "wrong.py"
    program.write_text(WRONG.format(change=change))
    monkeypatch.setattr(comparing, "PROGRAM", program)


def test_one_wrong_bit_of_one_tensor_is_found(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in("loaded.unet.conv_in.bias.view(torch.uint8)[3] ^= 1", tmp_path, monkeypatch)

    result = verify(saved("ddpm"))

    assert result.exit_code == 1
    assert "differences: 1 in " in result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("  tensor"))
    assert "unet.conv_in.bias: expected parameter torch.float32" in line
    assert "all equal" not in result.stdout


def test_every_difference_is_in_the_json_and_the_status_says_so(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in("loaded.unet.requires_grad_(False)", tmp_path, monkeypatch)
    count = len(list(diffusers.DiffusionPipeline.from_pretrained(saved("ddpm")).unet.parameters()))

    told = found(saved("ddpm"), status=1)

    assert told["equal"] is False
    assert len(told["differences"]) == count
    assert all("requires_grad True" in line and "requires_grad False" in line for line in told["differences"])


@pytest.mark.usefixtures("fresh_processes")
def test_a_load_of_ours_that_fails_is_told_of_with_its_last_words(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in("raise RuntimeError('out of luck')", tmp_path, monkeypatch)

    result = verify(saved("ddpm"))

    assert result.exit_code == 1
    assert result.stderr == "error: warpload cannot load it, though stock can: RuntimeError: out of luck\n"


def test_what_neither_loads_is_told_of_in_both_words(copied: Saved) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    file.write_bytes(file.read_bytes()[:-1])

    result = verify(folder)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: neither can load it: stock: ")
    assert file.name in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) == 1


CHANGES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "bytes": ("tensor", lambda pipe: pipe.unet.conv_in.weight.data.view(-1)[:1].neg_()),
    "a sign of zero": ("tensor", lambda pipe: pipe.unet.conv_in.bias.data.mul_(0).neg_()),
    "dtype": ("tensor", lambda pipe: pipe.unet.conv_in.half()),
    "strides": (
        "tensor",
        lambda pipe: setattr(
            pipe.unet.conv_in.weight, "data", pipe.unet.conv_in.weight.data.to(memory_format=torch.channels_last)
        ),
    ),
    "requires_grad": ("tensor", lambda pipe: pipe.vae.requires_grad_(False)),
    "a parameter less": ("tensor", lambda pipe: setattr(pipe.unet.conv_in, "bias", None)),
    "a buffer more": ("tensor", lambda pipe: pipe.unet.register_buffer("more", torch.zeros(1))),
    "a buffer that no file has": (
        "tensor",
        lambda pipe: (
            pipe.text_encoder.get_buffer("text_model.embeddings.position_ids").add_(1)
            if any(name == "text_model.embeddings.position_ids" for name, _ in pipe.text_encoder.named_buffers())
            else pipe.text_encoder.embeddings.position_ids.add_(1)
        ),
    ),
    "whether a buffer is saved": (
        "module",
        lambda pipe: pipe.text_encoder.get_submodule("")._non_persistent_buffers_set.add("none"),
    ),
    "training": ("module", lambda pipe: pipe.unet.mid_block.train()),
    "an attribute": ("module", lambda pipe: setattr(pipe.unet.conv_in, "padding", (0, 0))),
    "a module's class": ("module", lambda pipe: setattr(pipe.unet, "conv_act", torch.nn.Identity())),
    "a tie": ("tie", lambda pipe: setattr(pipe.unet.conv_in, "more", pipe.unet.conv_in.bias)),
    "a model's configuration": ("setting", lambda pipe: pipe.unet.register_to_config(sample_size=1)),
    "transformers' configuration": ("setting", lambda pipe: setattr(pipe.text_encoder.config, "hidden_act", "relu")),
    "where a model comes from": ("setting", lambda pipe: setattr(pipe.text_encoder.config, "name_or_path", "other")),
    "a scheduler's configuration": ("setting", lambda pipe: pipe.scheduler.register_to_config(beta_end=1.0)),
    "a tokenizer's vocabulary": ("setting", lambda pipe: pipe.tokenizer.add_tokens(["<new>"])),
    "a processor's settings": ("setting", lambda pipe: setattr(pipe.feature_extractor, "do_resize", False)),
    "the pipeline's configuration": ("setting", lambda pipe: pipe.register_to_config(requires_safety_checker=False)),
    "a component's class": (
        "component",
        lambda pipe: setattr(pipe, "scheduler", diffusers.DDPMScheduler.from_config(pipe.scheduler.config)),
    ),
    "a component less": ("component", lambda pipe: setattr(pipe, "safety_checker", None)),
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a pipeline that no test may change."""
    from support.pipelines import FAMILIES

    folder = tmp_path_factory.mktemp("verified")
    FAMILIES["stable-diffusion"]().save_pretrained(folder)
    return diffusers.DiffusionPipeline.from_pretrained(folder)


@pytest.mark.parametrize("case", CHANGES)
def test_every_kind_of_difference_is_found(case: str, pipeline: Any) -> None:
    kind, change = CHANGES[case]
    expected, other = likeness.likeness_of_pipeline(pipeline), copy.deepcopy(pipeline)
    assert likeness.differences(expected, likeness.likeness_of_pipeline(other)) == []

    change(other)

    lines = likeness.differences(expected, likeness.likeness_of_pipeline(other))
    assert any(line.startswith(f"{kind} ") for line in lines), lines


def test_quantised_tensors_are_compared_by_their_parts(tmp_path: Path) -> None:
    from support.quantised import OF_TRANSFORMERS, T5, save

    save(T5, tmp_path)
    kinds = {"torchao-int8": "scale", "bitsandbytes-nf4": "absmax"}
    for kind, part in kinds.items():
        model = T5.type.from_pretrained(tmp_path, quantization_config=OF_TRANSFORMERS[kind](), dtype=torch.bfloat16)
        expected = likeness.likeness_of_model(model)
        assert likeness.differences(expected, likeness.likeness_of_model(model)) == []
        name = next(name for name in expected["tensor"] if name.endswith(part))

        described = {**expected, "tensor": {**expected["tensor"], name: "other"}}

        assert any(name in line for line in likeness.differences(expected, described))


# -- what cannot be verified ------------------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"pickled")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    refused = {
        tmp_path / "weights.bin": "warpload convert",
        tmp_path: "name one of its files",
        tmp_path / "model": "names no class",
    }
    for named, cure in refused.items():
        result = verify(named)
        assert result.exit_code == 2, result.output
        assert cure in result.stderr
    result = verify(saved("ddpm"), "--dtype", "int8")
    assert result.exit_code == 2
    assert "float16, bfloat16, float32" in result.stderr


def test_an_interrupt_ends_it_with_its_own_status(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "compare", interrupt)

    result = verify(saved("ddpm"))

    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"


# -- the files against the Hub's --------------------------------------------------------------------------------------


@pytest.fixture
def snapshot(saved: Saved, tmp_path: Path) -> Path:
    """Return a snapshot in a cache whose blobs have the names that the Hub's client gives them."""
    made = hub_cache.write_cache(saved("ddpm"), tmp_path / "cache")
    hub_cache.name_blobs_by_hash(made)
    return made


def forget_the_names(snapshot: Path) -> None:
    """Give the blobs names that tell nothing."""
    for number, name in enumerate(hub_cache.names_of(snapshot)):
        link = snapshot / name
        blob = link.resolve()
        link.unlink()
        link.symlink_to(blob.rename(blob.with_name(f"blob-{number}")))


def spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("named", ["the snapshot", "a component", "a file"])
def test_files_of_the_cache_are_held_against_the_names_of_its_blobs(named: str, snapshot: Path) -> None:
    file = checkpoints.weight_file(snapshot / "unet")
    subject = find_subject(str({"the snapshot": snapshot, "a component": snapshot / "unet", "a file": file}[named]))

    right = hub_hashes.check(subject)
    spoil(file)
    wrong = hub_hashes.check(subject)

    assert right.different == {}
    assert set(right.equal) == set(hub_hashes.files_of(subject))
    assert "names of the cache" in right.known_from
    (spoiled,) = wrong.different
    assert Path(spoiled).name == file.name
    assert hub_cache.hash_on_hub(file) in wrong.different[spoiled]
    assert len(wrong.equal) == len(right.equal) - 1


def test_small_files_are_held_against_gits_hash(snapshot: Path) -> None:
    spoil(snapshot / "unet" / "config.json")

    checked = hub_hashes.check(find_subject(str(snapshot)))

    assert set(checked.different) == {"unet/config.json"}
    assert {"model_index.json", "scheduler/scheduler_config.json"} <= set(checked.equal)


def test_the_hubs_listing_in_the_cache_is_taken_where_there_is_one(snapshot: Path) -> None:
    files = {name: snapshot / name for name in hub_cache.names_of(snapshot)}
    entries = {
        name: {"size": file.stat().st_size, "blob_id": "0" * 40, "lfs_sha256": hub_cache.hash_on_hub(file)}
        if hub_cache.is_large(file)
        else {"size": file.stat().st_size, "blob_id": hub_cache.hash_on_hub(file)}
        for name, file in files.items()
    }
    forget_the_names(snapshot)
    listing = snapshot.parents[1] / "trees" / f"{snapshot.name}.json"
    listing.parent.mkdir()
    listing.write_text(json.dumps({"format_version": 1, "files": entries}))

    checked = hub_hashes.check(find_subject(str(snapshot)))

    assert checked.known_from == "the Hub's listing in the cache"
    assert set(checked.equal) == files.keys()
    assert checked.different == {}


def test_the_hub_is_asked_where_it_can_be(saved: Saved, snapshot: Path) -> None:
    forget_the_names(snapshot)
    spoil(checkpoints.weight_file(snapshot / "unet"))
    code = (
        "import json, os, sys; os.environ.update(json.loads(sys.argv[1]))\n"
        "from warpload.inspecting.subject import find_subject\nfrom warpload.verifying import hub_hashes\n"
        "checked = hub_hashes.check(find_subject(sys.argv[2]))\n"
        "print(json.dumps([checked.known_from, sorted(checked.equal), sorted(checked.different)]))"
    )
    with HubServer(saved("ddpm")) as server:
        settings = {"HF_ENDPOINT": server.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(snapshot.parents[2])}
        known_from, equal, different = json.loads(
            run_python(code, json.dumps(settings), hub_cache.REPOSITORY).stdout.splitlines()[-1]
        )

    assert known_from == "the Hub"
    assert [Path(name).suffix for name in different] == [".safetensors"]
    assert {*equal, *different} == set(hub_cache.names_of(snapshot))


def test_a_hub_that_cannot_be_asked_is_said_to_be_and_the_cache_is_taken(snapshot: Path) -> None:
    code = (
        "import os, sys; os.environ.update(HF_ENDPOINT='http://127.0.0.1:9', HF_HUB_OFFLINE='0')\n"
        "from warpload.inspecting.subject import find_subject\nfrom warpload.verifying import hub_hashes\n"
        "print(hub_hashes.check(find_subject(sys.argv[1])).known_from)"
    )

    told = run_python(code, snapshot).stdout.strip()

    assert told.startswith("the names of the cache's files (the Hub could not be asked: ")


def test_a_folder_that_the_hubs_client_filled_is_held_against_its_notes(saved: Saved, tmp_path: Path) -> None:
    code = (
        "import os, sys; os.environ.update(HF_ENDPOINT=sys.argv[1], HF_HUB_OFFLINE='0', HF_HUB_DISABLE_XET='1')\n"
        "from huggingface_hub import snapshot_download\n"
        "snapshot_download(sys.argv[2], local_dir=sys.argv[3])"
    )
    with HubServer(saved("ddpm")) as server:
        run_python(code, server.endpoint, hub_cache.REPOSITORY, tmp_path / "local")

    subject = find_subject(str(tmp_path / "local"))
    right = hub_hashes.check(subject)
    spoil(checkpoints.weight_file(tmp_path / "local" / "unet"))

    assert set(right.equal) == set(hub_cache.names_of(saved("ddpm")))
    assert [Path(name).parent.name for name in hub_hashes.check(subject).different] == ["unet"]


def test_the_command_says_what_came_of_the_hashes(snapshot: Path) -> None:
    count = len(hub_cache.names_of(snapshot))

    result = verify(snapshot, "--hashes")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"{count} files the Hub's, by the hashes of the names of the cache's files"
    spoil(checkpoints.weight_file(snapshot / "unet"))
    told = found(snapshot, "--hashes", status=1)
    assert told["differences"] == []  # both load the same spoiled file
    assert told["equal"] is False
    assert list(told["hashes"]["different"]) == ["unet/diffusion_pytorch_model.safetensors"]


def test_hashes_of_what_the_hub_does_not_know_are_refused_before_any_load(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a load has begun")

    monkeypatch.setattr(verification, "compare", refuse)

    result = verify(saved("ddpm"), "--hashes")

    assert result.exit_code == 2
    assert "no hash of its files is known" in result.stderr


def test_stock_loads_where_nothing_of_ours_is_imported(saved: Saved, tmp_path: Path) -> None:
    program = tmp_path / "watching.py"
    program.write_text(
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('fresh_load', {str(comparing.PROGRAM)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "sys.argv = ['fresh_load', *sys.argv[1:]]\n"
        "module.load(module._parse_arguments())\n"
        "print(sorted(name for name in sys.modules if name.startswith('warpload')))"
    )
    code = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

    told = run_python(code, program, "--loader", "stock", "--kind", "pipeline", "--source", saved("ddpm"))

    assert told.stdout.splitlines()[-1] == "[]"
