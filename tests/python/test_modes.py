"""Whatever mode of torch a load is made in, its tensors are those that stock makes there, and the mode stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import pytest
import safetensors
import safetensors.torch
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.initialization import no_init_weights

import warpload
from support import checkpoints, models
from support.compare import bytes_of
from support.devices import Device
from support.pipelines import Saved


class SeesFunctions(TorchFunctionMode):
    """Sees each function of torch's, and answers with one more element in each made of bytes."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


class SeesOperations(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return operation(*args, **(kwargs or {}))


@contextlib.contextmanager
def switched(set_: Callable[[Any], Any], get: Callable[[], Any], value: Any) -> Iterator[None]:
    before = get()
    set_(value)
    try:
        yield
    finally:
        set_(before)


def default_dtype(dtype: torch.dtype) -> Any:
    return switched(torch.set_default_dtype, torch.get_default_dtype, dtype)


_CHOSEN_DEVICE = torch._GLOBAL_DEVICE_CONTEXT


@contextlib.contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)
        if getattr(_CHOSEN_DEVICE, "device_context", "") is None:  # torch 2.6 cannot say afterwards which there is
            del _CHOSEN_DEVICE.device_context


def future(name: str) -> Any:
    flags = torch.__future__
    return switched(getattr(flags, f"set_{name}"), getattr(flags, f"get_{name}"), True)


MODES: dict[str, Callable[[], Any]] = {
    "none": contextlib.nullcontext,
    "inference_mode": torch.inference_mode,
    "inference_mode-off-inside": lambda: torch.inference_mode(False),
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "default-device-cpu": lambda: default_device("cpu"),
    "default-device-meta": lambda: default_device("meta"),
    "with-device-cpu": lambda: torch.device("cpu"),
    "with-device-meta": lambda: torch.device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "fake": FakeTensorMode,
    "fake-with-real-inputs": lambda: FakeTensorMode(allow_non_fake_inputs=True),
    "functional": FunctionalTensorMode,
    "dispatch": SeesOperations,
    "function": SeesFunctions,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: switched(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "overwrite-parameters": lambda: future("overwrite_module_params_on_conversion"),
    "swap-parameters": lambda: future("swap_module_params_on_conversion"),
    "init_empty_weights": accelerate.init_empty_weights,
    "init_empty_weights-with-buffers": lambda: accelerate.init_empty_weights(include_buffers=True),
    "no_init_weights": no_init_weights,
    "no_init_weights-of-diffusers": lambda: diffusers.models.modeling_utils.no_init_weights(),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "threads": lambda: switched(torch.set_num_threads, torch.get_num_threads, 2),
}


def state_of_modes() -> tuple[Any, ...]:
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_num_threads(),
        torch.nn.Module.register_parameter,
        torch.nn.init.normal_,
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        torch.__future__.get_overwrite_module_params_on_conversion(),
        torch.__future__.get_swap_module_params_on_conversion(),
    )


def described(tensor: torch.Tensor) -> tuple[Any, ...]:
    try:
        content = None if tensor.is_meta else bytes_of(tensor)
    except (AttributeError, RuntimeError):  # a tensor of a mode's own has no memory
        content = None
    return (
        type(tensor).__name__,
        tensor.dtype,
        tensor.device,
        tuple(tensor.shape),
        tensor.requires_grad,
        tensor.is_inference(),
        tensor.is_leaf,
        tensor.grad_fn,
        content,
    )


def trained(model: torch.nn.Module) -> str:
    """Return what comes of a backward pass through all parameters."""
    try:
        with torch.enable_grad():
            sum(parameter.double().pow(2).sum() for parameter in model.parameters()).backward()
    except Exception as error:
        return type(error).__name__
    return "; ".join(name for name, parameter in model.named_parameters() if parameter.grad is None)


def outcome(mode: Callable[[], Any], load: Callable[[], Any]) -> Any:
    """Return what a load in that mode comes to: its tensors and what can be done with them, or an error."""
    torch.manual_seed(3)
    before = state_of_modes()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mode())
        inside = state_of_modes()
        try:
            loaded = load()
        except Exception as error:
            loaded = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        kept = [was == now for was, now in zip(inside, state_of_modes(), strict=True)]
    # Stock may leave another default dtype behind where it fails.
    torch.set_default_dtype(before[3])
    assert state_of_modes() == before
    if isinstance(loaded, str):
        return loaded
    if isinstance(loaded, dict):
        return {name: described(tensor) for name, tensor in loaded.items()}, kept
    named = loaded.components if hasattr(loaded, "components") else {"": loaded}
    found = {}
    for part, model in named.items():
        if isinstance(model, torch.nn.Module):
            tensors = [*model.named_parameters(), *model.named_buffers()]
            found[part] = {name: described(tensor) for name, tensor in tensors}, trained(model)
    return found, kept


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    models.clip_text_model().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip_with_a_missing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("missing")
    models.clip_text_model().save_pretrained(folder)
    checkpoints.rewrite(
        folder / checkpoints.TRANSFORMERS_FILE,
        lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.endswith("0.mlp.fc1.weight")},
    )
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    models.vae().save_pretrained(folder)
    return folder


def both(mode: str, load: Callable[[], Any]) -> tuple[Any, Any]:
    def ours() -> Any:
        with warpload.accelerated():
            return load()

    return outcome(MODES[mode], ours), outcome(MODES[mode], load)


DTYPES = [None, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_model_of_diffusers(mode: str, dtype: torch.dtype | None, vae: Path) -> None:
    ours, stock = both(mode, lambda: diffusers.AutoencoderKL.from_pretrained(vae, dtype=dtype))

    assert ours == stock


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_model_of_transformers(mode: str, dtype: torch.dtype | None, clip: Path) -> None:
    ours, stock = both(mode, lambda: transformers.CLIPTextModel.from_pretrained(clip, dtype=dtype))

    assert ours == stock


@pytest.mark.parametrize("mode", MODES)
def test_a_model_of_transformers_read_without_threads(mode: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    ours, stock = both(mode, lambda: transformers.CLIPTextModel.from_pretrained(clip, dtype=torch.bfloat16))

    assert ours == stock


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_lacks_a_key(mode: str, clip_with_a_missing_key: Path) -> None:
    ours, stock = both(mode, lambda: transformers.CLIPTextModel.from_pretrained(clip_with_a_missing_key))

    assert ours == stock


@pytest.mark.parametrize("mode", MODES)
def test_a_pipeline(mode: str, saved: Saved) -> None:
    folder = saved("stable-diffusion")
    ours, stock = both(mode, lambda: diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16))

    assert ours == stock


def whole(library: Any, file: Path) -> dict[str, torch.Tensor]:
    return (library.torch if library is safetensors else library).load_file(file)


def one_by_one(library: Any, file: Path) -> dict[str, torch.Tensor]:
    with library.safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no dictionary


def sliced(library: Any, file: Path) -> dict[str, torch.Tensor]:
    with library.safe_open(file, framework="pt") as opened:
        names = [name for name in opened.keys() if opened.get_slice(name).get_shape()]  # noqa: SIM118
        return {name: opened.get_slice(name)[:1] for name in names}


def sliced_whole(library: Any, file: Path) -> dict[str, torch.Tensor]:
    with library.safe_open(file, framework="pt") as opened:
        return {name: opened.get_slice(name)[...] for name in opened.keys()}  # noqa: SIM118


@pytest.mark.parametrize("read", [whole, one_by_one, sliced, sliced_whole])
@pytest.mark.parametrize("mode", MODES)
def test_a_file(mode: str, read: Callable[[Any, Path], Any], clip: Path) -> None:
    file = clip / checkpoints.TRANSFORMERS_FILE

    assert outcome(MODES[mode], lambda: read(warpload, file)) == outcome(MODES[mode], lambda: read(safetensors, file))


# torch itself crashes over a real model that is moved into a mode of tensors without memory.
MODES_TO_MOVE_IN = [mode for mode in MODES if not mode.startswith(("fake", "functional"))]


@pytest.mark.parametrize("dtype", [None, torch.float16], ids=str)
@pytest.mark.parametrize("mode", MODES_TO_MOVE_IN)
@pytest.mark.slots
def test_a_model_that_is_moved(mode: str, dtype: torch.dtype | None, device: Device) -> None:
    def stock() -> Any:
        # As Module.to does, which copies nothing where it already is.
        return moved._apply(lambda tensor: tensor.to(device.name, dtype, copy=True))

    def ours() -> Any:
        return warpload.to_device(moved, device.name, dtype)

    moved = models.vae()
    expected = outcome(MODES[mode], stock)
    moved = models.vae()
    assert outcome(MODES[mode], ours) == expected
