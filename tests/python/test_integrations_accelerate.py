"""docs/integrations/accelerate.md: what the core loads is offloaded as stock's is, to and from the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from accelerate.hooks import SequentialHook
from diffusers import DiffusionPipeline

from support import integration_pages as pages
from support.compare import assert_same_tensor, bytes_of
from support.loading import load_both
from support.pipelines import DTYPES, Saved

CPU = torch.device("cpu")
FAMILY = "stable-diffusion"
Pair = tuple[DiffusionPipeline, DiffusionPipeline]


@pytest.fixture(params=["no-dtype", "bfloat16"])
def pair(request: pytest.FixtureRequest, saved: Saved) -> Pair:
    """Return the core's pipeline and stock's; without a dtype the core's tensors are views of the files."""
    return load_both(saved(FAMILY), safety_checker=None, **DTYPES[request.param])


def image(pipeline: DiffusionPipeline) -> bytes:
    pipeline.set_progress_bar_config(disable=True)
    sizes = {"num_inference_steps": 2, "height": 16, "width": 16, "output_type": "pt"}
    return bytes_of(pipeline("a bad cab", generator=torch.Generator().manual_seed(0), **sizes).images)


def outcome(pipeline: DiffusionPipeline) -> bytes | str:
    """Return an image, or what drawing it fails with: not all of accelerate's ways run where no accelerator is."""
    try:
        return image(pipeline)
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def hooks(model: torch.nn.Module) -> dict[str, list[Any]]:
    """Return the kinds of accelerate's hooks, and those of diffusers, by the modules that have them."""
    found = {}
    for name, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        each = hook.hooks if isinstance(hook, SequentialHook) else [hook] if hook else []
        others = getattr(module, "_diffusers_hook", None)
        kinds = [(type(one).__name__, str(getattr(one, "execution_device", ""))) for one in each]
        found[name] = [*kinds, *(sorted(others.hooks) if others else [])]
    return found


def assert_same_places(ours: torch.nn.Module, stock: torch.nn.Module) -> None:
    """Fail unless every tensor is where stock's is, on meta too, and every hook is there."""
    for kind in ("named_parameters", "named_buffers"):
        theirs = dict(getattr(stock, kind)())
        mine = dict(getattr(ours, kind)())
        assert list(mine) == list(theirs)
        for name, expected in theirs.items():
            assert_same_tensor(mine[name], expected, name)
    assert hooks(ours) == hooks(stock)


def assert_offloads_alike(pair: Pair, offload: Callable[[DiffusionPipeline], Any]) -> None:
    """Fail unless both pipelines have the same hooks, places and images, before and after two images."""
    ours, stock = pair
    for pipeline in pair:
        offload(pipeline)
    for _ in range(2):
        for name, model in stock.components.items():
            if isinstance(model, torch.nn.Module):
                assert_same_places(getattr(ours, name), model)
        assert image(ours) == image(stock)


def addresses(model: torch.nn.Module) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}


def weights_map(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that accelerate's hooks bring back, by their names in the model."""
    found = {}
    for name, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        for each in hook.hooks if isinstance(hook, SequentialHook) else [hook]:
            if getattr(each, "weights_map", None) is not None:
                own = dict(module.named_parameters(recurse=False))
                found |= {f"{name}.{key}" if name else key: each.weights_map[key] for key in own}
    return found


def test_models_are_offloaded_one_by_one(pair: Pair) -> None:
    assert_offloads_alike(pair, lambda pipeline: pipeline.enable_model_cpu_offload(device="cpu"))


def test_layers_are_offloaded_one_by_one(pair: Pair) -> None:
    """The image itself is a GPU's affair: on a CPU accelerate 1.15 makes plain tensors of parameters, and fails."""
    for pipeline in pair:
        pipeline.enable_sequential_cpu_offload(device="cpu")
    for name in ("unet", "vae", "text_encoder"):
        assert_same_places(getattr(pair[0], name), getattr(pair[1], name))

    assert outcome(pair[0]) == outcome(pair[1])


def test_a_model_is_offloaded_to_the_cpu(pair: Pair) -> None:
    assert_offloads_alike(pair, lambda pipeline: accelerate.cpu_offload(pipeline.unet, CPU))


def test_a_model_is_offloaded_to_the_disk(pair: Pair, tmp_path: Path) -> None:
    folders = iter([tmp_path / "ours", tmp_path / "stock"])

    assert_offloads_alike(pair, lambda pipeline: accelerate.disk_offload(pipeline.unet, next(folders), CPU))

    files = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in tmp_path.iterdir()]
    assert files[0] == files[1]


def test_parts_of_a_model_are_in_several_places(pair: Pair, tmp_path: Path) -> None:
    folders = iter([tmp_path / "ours", tmp_path / "stock"])
    places = {"": "cpu", "down_blocks.0": "disk", "mid_block": "disk"}

    def dispatch(pipeline: DiffusionPipeline) -> None:
        accelerate.dispatch_model(pipeline.unet, places, main_device="cpu", offload_dir=next(folders), force_hooks=True)

    assert_offloads_alike(pair, dispatch)


@pytest.mark.parametrize(
    "how", [{"offload_type": "leaf_level"}, {"offload_type": "block_level", "num_blocks_per_group": 1}]
)
def test_groups_of_layers_are_offloaded(how: dict[str, Any], pair: Pair) -> None:
    try:
        pair[1].unet.enable_group_offload(onload_device=CPU, offload_device=CPU, **how)
    except (AttributeError, RuntimeError) as error:  # diffusers 0.40 and torch 2.6 want an accelerator for it
        pytest.skip(str(error))

    pair[0].unet.enable_group_offload(onload_device=CPU, offload_device=CPU, **how)

    assert_offloads_alike(pair, lambda _: None)


def test_groups_are_offloaded_to_the_disk(pair: Pair, tmp_path: Path) -> None:
    """What is left in a tensor's memory meanwhile is nothing that anybody has written, in stock's as in ours."""
    images = []
    for name, pipeline in zip(("ours", "stock"), pair, strict=True):
        settings = {"offload_type": "leaf_level", "offload_to_disk_path": str(tmp_path / name)}
        try:
            pipeline.unet.enable_group_offload(onload_device=CPU, offload_device=CPU, **settings)
        except (AttributeError, RuntimeError) as error:
            pytest.skip(str(error))
        images.append([image(pipeline) for _ in range(2)])

    assert images[0] == images[1]
    files = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in tmp_path.iterdir()]
    assert files[0] == files[1]
    assert files[0]


def test_hooks_that_are_removed_leave_the_model_as_it_was(pair: Pair) -> None:
    ours, stock = pair
    for pipeline in pair:
        pipeline.enable_sequential_cpu_offload(device="cpu")
        pipeline.remove_all_hooks()

    for name in ("unet", "vae", "text_encoder"):
        assert_same_places(getattr(ours, name), getattr(stock, name))


def test_the_weights_that_wait_are_the_views_of_the_file_and_no_copies(saved: Saved) -> None:
    ours, _ = load_both(saved(FAMILY), safety_checker=None)
    before = addresses(ours.unet)

    accelerate.cpu_offload(ours.unet, CPU)
    image(ours)
    found = {name: tensor.data_ptr() for name, tensor in weights_map(ours.unet).items()}

    assert found
    assert found == {name: before[name] for name in found}
    assert all(parameter.is_meta for parameter in ours.unet.parameters())


def test_the_pages_snippets_do_what_they_say(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start = {
        "path/or/hub-id": str(saved(FAMILY)),
        "enable_model_cpu_offload()": 'enable_model_cpu_offload(device="cpu")',
    }

    def loaded() -> Any:
        return pages.run("accelerate", "enable_model_cpu_offload()", start)

    names = loaded()
    expected = image(names["pipe"])
    assert image(names["pipe"]) == expected
    names = loaded()
    names["pipe"].remove_all_hooks()
    names = pages.run("accelerate", "accelerate.disk_offload", {'"cuda"': '"cpu"'}, **names)
    assert image(names["pipe"]) == expected
    names = loaded()
    names["pipe"].remove_all_hooks()
    names = pages.run("accelerate", "accelerate.dispatch_model", accelerate=accelerate, **names)
    assert image(names["pipe"]) == expected
    assert list((tmp_path / "offloaded").glob("*.dat"))
    assert 0 < len(list((tmp_path / "parts").glob("*.dat"))) < len(list((tmp_path / "offloaded").glob("*.dat")))


def test_the_pages_groups_do_what_they_say(saved: Saved) -> None:
    _, stock = load_both(saved(FAMILY), safety_checker=None)
    expected, pipe = image(stock), load_both(saved(FAMILY), safety_checker=None)[0]
    told = {'torch.device("cuda")': "cpu", ", use_stream=True": ""}  # a stream is a GPU's
    try:
        pages.run("accelerate", "enable_group_offload", told, pipe=pipe, cpu=CPU, torch=torch)
    except (AttributeError, RuntimeError) as error:
        pytest.skip(str(error))

    assert image(pipe) == expected
