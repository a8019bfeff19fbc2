"""`warpload convert` writes safetensors of pickles: the same tensors by the same names, or nothing at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers
from click.testing import Result

import warpload
from support import checkpoints, commands, models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline, assert_same_tensors
from support.pipelines import MODELS, Saved
from warpload import units
from warpload.stock import pickles


def convert(*arguments: object) -> Result:
    return commands.run("convert", *arguments)


def said(result: Result) -> str:
    return " ".join(result.output.split())


def unfinished(folder: Path) -> list[Path]:
    return [file for file in folder.rglob(".*") if file.is_file()]


@pytest.fixture
def pickled(copied: Saved) -> Path:
    """Return the folder of a pipeline whose weights are pickles."""
    folder = copied("stable-diffusion")
    checkpoints.as_pickles(folder, *MODELS["stable-diffusion"])
    return folder


# -- pipelines and models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_a_pipeline_of_pickles_becomes_one_that_loads_natively(pickled: Path, tmp_path: Path, beside: bool) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(pickled)
    output = pickled if beside else tmp_path / "converted"

    result = convert(pickled, *(() if beside else ("--output", output)))

    assert result.exit_code == 0, result.output
    if not beside:  # by the same name, as a pipeline remembers that
        pickled.rename(tmp_path / "before")
        output.rename(pickled)
    ours = warpload.DiffusionPipeline.from_pretrained(pickled)
    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"])
    assert bool(list(pickled.rglob("*.bin"))) == beside
    assert_same_pipeline(diffusers.DiffusionPipeline.from_pretrained(pickled, use_safetensors=True), stock)
    assert unfinished(pickled) == []


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_and_their_index_keep_the_names_of_tensors(variant: str | None, tmp_path: Path) -> None:
    model = models.unet()
    model.save_pretrained(tmp_path, max_shard_size="8KB", safe_serialization=False, variant=variant)
    arguments: dict[str, Any] = {} if variant is None else {"variant": variant}
    stock = diffusers.UNet2DConditionModel.from_pretrained(tmp_path, use_safetensors=False, **arguments)

    assert convert(tmp_path).exit_code == 0

    ours = warpload.UNet2DConditionModel.from_pretrained(tmp_path, use_safetensors=True, **arguments)
    assert_same_model(ours, stock)
    assert set(warpload.last_report().components.values()) == {"native"}
    (before,) = tmp_path.glob("*.bin.index*.json")
    (after,) = tmp_path.glob("*.safetensors.index*.json")
    theirs, own = json.loads(before.read_text()), json.loads(after.read_text())
    assert own["weight_map"].keys() == theirs["weight_map"].keys()
    assert own["metadata"] == theirs["metadata"]


def test_tensors_that_are_one_in_a_model_are_one_again(tmp_path: Path) -> None:
    model = models.causal_language_model()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    model.config.save_pretrained(tmp_path)
    stock = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)

    assert convert(tmp_path).exit_code == 0

    with warpload.accelerated():
        ours = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, use_safetensors=True)
    assert_same_model(ours, stock)
    assert ours.lm_head.weight is ours.transformer.wte.weight
    assert safetensors.torch.load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pytorch_model.bin", "model.safetensors"),
        ("pytorch_model.fp16.bin", "model.fp16.safetensors"),
        ("pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"),
        ("pytorch_model.bin.index.json", "model.safetensors.index.json"),
        ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
        ("diffusion_pytorch_model.fp16.bin", "diffusion_pytorch_model.fp16.safetensors"),
        ("diffusion_pytorch_model-00001-of-00002.fp16.bin", "diffusion_pytorch_model-00001-of-00002.fp16.safetensors"),
        ("diffusion_pytorch_model.fp16-00001-of-00002.bin", "diffusion_pytorch_model.fp16-00001-of-00002.safetensors"),
        ("diffusion_pytorch_model.bin.index.fp16.json", "diffusion_pytorch_model.safetensors.index.fp16.json"),
        ("pytorch_lora_weights.bin", "pytorch_lora_weights.safetensors"),
        ("adapter_model.bin", "adapter_model.safetensors"),
        ("optimizer.bin", None),
        ("training_args.bin", None),
        ("model.safetensors", None),
        ("my_pytorch_model.bin", None),
        ("pytorch_model.bin.index", None),
    ],
)
def test_files_are_called_what_the_libraries_call_them(name: str, expected: str | None) -> None:
    assert pickles.safetensors_name(name) == expected


# -- single files -----------------------------------------------------------------------------------------------------


def odd_tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32)
    return {
        "whole": base,
        "the same": base,
        "a part": base[3:9],
        "another shape": base.view(4, 6),
        "transposed": base.view(4, 6).t(),
        "every other": base[::2],
        "expanded": torch.ones(1, dtype=torch.bfloat16).expand(5),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.empty(0, 3),
        "not a number": torch.tensor([float("nan"), -0.0, float("inf")], dtype=torch.float16),
        "truth": torch.tensor([True, False]),
        "small": torch.tensor([1, 2], dtype=torch.float8_e4m3fn),
        "complex": torch.tensor([1 + 2j]).conj(),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_every_tensor_has_the_bytes_that_it_had(zipped: bool, tmp_path: Path) -> None:
    tensors = odd_tensors()
    if not zipped:  # torch saves it, and cannot read it
        del tensors["small"]
    torch.save(tensors, tmp_path / "odd.bin", _use_new_zipfile_serialization=zipped)

    assert convert(tmp_path / "odd.bin").exit_code == 0

    read = torch.load(tmp_path / "odd.bin", weights_only=True)
    expected = {
        name: tensor.resolve_conj().clone(memory_format=torch.contiguous_format) for name, tensor in read.items()
    }
    assert_same_tensors(safetensors.torch.load_file(tmp_path / "odd.safetensors"), expected)


def test_a_checkpoint_inside_a_checkpoint_is_taken_out_as_stock_does(saved: Saved, tmp_path: Path) -> None:
    tensors = checkpoints.load_file(checkpoints.weight_file(saved("stable-diffusion") / "vae"))
    torch.save({"state_dict": tensors}, tmp_path / "vae.ckpt")
    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}
    stock = diffusers.AutoencoderKL.from_single_file(str(tmp_path / "vae.ckpt"), **arguments)

    assert convert(tmp_path / "vae.ckpt", "--output", tmp_path / "other.safetensors").exit_code == 0

    ours = warpload.AutoencoderKL.from_single_file(str(tmp_path / "other.safetensors"), **arguments)
    assert_same_model(ours, stock)
    assert warpload.last_report().components == {"AutoencoderKL": "native"}


def test_the_parts_of_an_ip_adapter_come_before_the_first_dot(tmp_path: Path) -> None:
    parts = {"image_proj": {"proj.weight": torch.ones(2)}, "ip_adapter": {"1.to_k_ip.weight": torch.zeros(3)}}
    torch.save(parts, tmp_path / "ip-adapter.bin")

    assert convert(tmp_path / "ip-adapter.bin").exit_code == 0

    written = safetensors.torch.load_file(tmp_path / "ip-adapter.safetensors")
    assert written.keys() == {"image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"}


# -- what is refused, and leaves nothing behind -----------------------------------------------------------------------


class Program:
    """A pickle that does something when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (os.mkdir, (str(self.file),))


def test_a_program_is_not_run(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1), "program": Program(tmp_path / "done")}, tmp_path / "pytorch_model.bin")

    result = convert(tmp_path)

    assert result.exit_code == 1
    assert not (tmp_path / "done").exists()
    assert "pytorch_model.bin: torch's weights-only reader refuses it" in said(result)
    assert list(tmp_path.iterdir()) == [tmp_path / "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"weight": torch.ones(1), "step": 3}, "'step' is a int"),
        ({"weight": torch.ones(1), 3: torch.ones(1)}, "name of type int"),
        ([torch.ones(1)], "no tensors by name, but a list"),
        ({}, "no tensors by name"),
        ({"weight": torch.eye(3).to_sparse()}, "'weight' is a sparse or quantised tensor"),
    ],
    ids=["a number", "a name", "a list", "nothing", "sparse"],
)
def test_what_safetensors_cannot_hold_is_named(held: Any, reason: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "file.bin")

    result = convert(tmp_path / "file.bin")

    assert result.exit_code == 1
    assert "file.bin" in said(result)
    assert reason in said(result)
    assert list(tmp_path.iterdir()) == [tmp_path / "file.bin"]


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "pytorch_model.bin")
    os.truncate(tmp_path / "pytorch_model.bin", 2000)

    result = convert(tmp_path)

    assert result.exit_code == 1
    assert "pytorch_model.bin" in said(result)


def test_what_is_written_otherwise_than_it_was_read_is_not_kept(pickled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = safetensors.torch.save_file

    def spoiled(tensors: dict[str, torch.Tensor], file: Any, **keywords: Any) -> None:
        name = next(iter(tensors))
        genuine({**tensors, name: torch.zeros_like(tensors[name]) - 1}, file, **keywords)

    monkeypatch.setattr(safetensors.torch, "save_file", spoiled)

    result = convert(pickled)

    assert result.exit_code == 1
    assert "was written otherwise than it was read" in said(result)
    assert [*pickled.rglob("*.safetensors"), *unfinished(pickled)] == []


def test_an_interrupt_leaves_what_is_finished_and_no_more(pickled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, calls = safetensors.torch.save_file, []

    def interrupted(tensors: dict[str, torch.Tensor], file: Any, **keywords: Any) -> None:
        calls.append(file)
        genuine(tensors, file, **keywords)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)

    assert convert(pickled).exit_code == 130

    assert len(list(pickled.rglob("*.safetensors"))) == 1
    assert unfinished(pickled) == []


def test_a_disk_that_is_too_small_is_found_out_before_anything_is_written(
    pickled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 10, 0))

    result = convert(pickled)

    assert result.exit_code == 1
    assert "0 bytes are free" in said(result)
    assert list(pickled.rglob("*.safetensors")) == []


def test_what_is_there_already_stays_unless_it_is_to_be_written_anew(pickled: Path) -> None:
    (there,) = (file.with_name("diffusion_pytorch_model.safetensors") for file in (pickled / "unet").glob("*.bin"))
    there.write_bytes(b"of the user's")

    result = convert(pickled)
    assert result.exit_code == 0
    assert "1 were there already" in said(result)
    assert there.read_bytes() == b"of the user's"

    assert convert(pickled, "--overwrite").exit_code == 0
    assert_same_tensors(safetensors.torch.load_file(there), torch.load(next((pickled / "unet").glob("*.bin"))))


def test_where_there_is_nothing_to_convert_the_status_says_so(saved: Saved, tmp_path: Path) -> None:
    for place, reason in (
        (tmp_path / "nowhere", "there is no"),
        (saved("stable-diffusion"), "has no pickled weights"),
        (saved("stable-diffusion") / "model_index.json", "is no .bin"),
    ):
        result = convert(place)
        assert result.exit_code == 2
        assert reason in said(result)


def test_the_result_goes_neither_into_the_source_nor_into_the_hubs_cache(pickled: Path, tmp_path: Path) -> None:
    assert "leave it out" in said(convert(pickled, "--output", pickled / "inside"))
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    shutil.copytree(pickled, snapshot)
    (tmp_path / "models--a--b" / "blobs").mkdir()

    for place in (snapshot, next((snapshot / "unet").glob("*.bin"))):
        result = convert(place)
        assert result.exit_code == 2
        assert "Hub's cache" in said(result)
    assert convert(snapshot, "--output", tmp_path / "converted").exit_code == 0


def test_an_index_that_names_other_files_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"metadata": {}, "weight_map": {"weight": "../elsewhere.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))

    result = convert(tmp_path)

    assert result.exit_code == 2
    assert "'../elsewhere.bin' is no name of a shard" in said(result)
    assert not (tmp_path / "model.safetensors.index.json").exists()


# -- who has pickles is told ------------------------------------------------------------------------------------------


def test_a_load_of_pickles_says_what_to_do_in_the_report_and_in_one_line(
    pickled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warpload.DiffusionPipeline.from_pretrained(pickled)

    size = (pickled / "unet" / "diffusion_pytorch_model.bin").stat().st_size
    reason = f"no safetensors, but diffusion_pytorch_model.bin ({units.size(size)}): the core loads them after"
    assert reason in warpload.last_report().components["unet"]
    lines = [each.getMessage() for each in caplog.records if each.name == "warpload" and "unet of" in each.getMessage()]
    assert len(lines) == 1
    assert "`warpload convert`" in lines[0]


def test_a_single_file_that_is_a_pickle_says_so_too(saved: Saved, tmp_path: Path) -> None:
    tensors = checkpoints.load_file(checkpoints.weight_file(saved("stable-diffusion") / "vae"))
    torch.save(tensors, tmp_path / "model.ckpt")

    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}
    warpload.AutoencoderKL.from_single_file(str(tmp_path / "model.ckpt"), **arguments)

    assert "but model.ckpt (" in warpload.last_report().components["AutoencoderKL"]
