"""Models are constructed one at a time, whoever constructs them, and nobody's patches reach another thread's model."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from diffusers import AutoencoderKL, DDPMPipeline, UNet2DModel
from transformers import CLIPTextModel, core_model_loading

import warpload
from support import checkpoints, models
from support.compare import assert_same_model
from support.pipelines import Saved
from warpload.stock import construction

GENUINE = torch.nn.Module.register_parameter
PATIENCE = 60

# accelerate's patch of older versions fails on the parameters that transformers has marked.
TAKES_MARKS = "_is_hf_initialized" in inspect.getsource(accelerate.big_modeling)
needs_marks = pytest.mark.skipif(not TAKES_MARKS, reason="stock fails in this version of accelerate")


class ObservedLock:
    """The lock of construction, which tells when a thread has to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.wanted = threading.Event()
        self.holder: int | None = None
        self.depth = 0

    def __enter__(self) -> ObservedLock:
        if not self._lock.acquire(blocking=False):
            self.wanted.set()
            assert self._lock.acquire(timeout=PATIENCE)
        self.holder, self.depth = threading.get_ident(), self.depth + 1
        return self

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.holder = None
        self._lock.release()

    def is_mine(self) -> bool:
        return self.holder == threading.get_ident()


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> ObservedLock:
    observed = ObservedLock()
    monkeypatch.setattr(construction, "construction_lock", observed)
    return observed


@pytest.fixture
def installed() -> Iterator[None]:
    warpload.install()
    try:
        yield
    finally:
        warpload.uninstall()


@pytest.fixture(autouse=True)
def _everything_is_put_back() -> Iterator[None]:
    yield
    assert torch.nn.Module.register_parameter is GENUINE
    assert torch.nn.init.normal_.__module__ == "torch.nn.init"
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    models.clip_text_model().save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def unet_without_a_key(tmp_path: Path) -> Path:
    folder = tmp_path / "unet"
    models.unconditional_unet().save_pretrained(folder)
    checkpoints.rewrite(
        folder / checkpoints.DIFFUSERS_FILE, lambda tensors: {k: v for k, v in tensors.items() if k != "conv_in.bias"}
    )
    return folder


def on_meta(model: torch.nn.Module) -> list[str]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [name for name, tensor in tensors if tensor.is_meta]


@contextlib.contextmanager
def thread(work: Callable[[], Any]) -> Iterator[Any]:
    """Run something on another thread, which has ended with the block."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


class Elsewhere:
    """accelerate's patch, as a thread makes it that warpload knows nothing of."""

    def __init__(self) -> None:
        self._begun, self._end = threading.Event(), threading.Event()

    def _hold(self) -> None:
        with accelerate.init_empty_weights():
            self._begun.set()
            assert self._end.wait(PATIENCE)

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()
        assert self._begun.wait(PATIENCE)

    def end(self) -> None:
        self._end.set()
        self._thread.join()


# -- one at a time ----------------------------------------------------------------------------------------------------


def test_a_native_load_waits_for_stocks_construction(
    lock: ObservedLock, clip: Path, unet_without_a_key: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    constructing = threading.Event()
    original = UNet2DModel.__init__

    @functools.wraps(original)  # diffusers reads its settings off the signature
    def slow(self: Any, *arguments: Any, **keywords: Any) -> None:
        constructing.set()
        assert lock.wanted.wait(PATIENCE), "the other load does not wait"
        original(self, *arguments, **keywords)

    monkeypatch.setattr(UNet2DModel, "__init__", slow)
    with thread(lambda: UNet2DModel.from_pretrained(unet_without_a_key, low_cpu_mem_usage=False)) as unet:
        assert constructing.wait(PATIENCE)
        loaded = CLIPTextModel.from_pretrained(clip)

    assert on_meta(loaded) == []
    assert on_meta(unet.result()) == []


class BuildsInItsInit(DDPMPipeline):  # type: ignore[misc]
    def __init__(self, unet: Any, scheduler: Any) -> None:
        super().__init__(unet, scheduler)
        self.another = UNet2DModel.from_config(unet.config)


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    models.vae().save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def single_file(folder: Path) -> Any:
    return AutoencoderKL.from_single_file(str(folder / checkpoints.DIFFUSERS_FILE), config=str(folder))


LOADS: dict[str, tuple[Any, Callable[[Path, Path, Path, Path], Any]]] = {
    "native, of diffusers": (UNet2DModel, lambda clip, unet, ddpm, _: UNet2DModel.from_pretrained(ddpm / "unet")),
    "native, of transformers": (CLIPTextModel, lambda clip, unet, ddpm, _: CLIPTextModel.from_pretrained(clip)),
    "placed by stock, of diffusers": (UNet2DModel, lambda clip, unet, ddpm, _: UNet2DModel.from_pretrained(unet)),
    "placed by stock, with a dtype": (
        UNet2DModel,
        lambda clip, unet, ddpm, _: UNet2DModel.from_pretrained(unet, dtype=torch.float16),
    ),
    "with all memory": (
        UNet2DModel,
        lambda clip, unet, ddpm, _: UNet2DModel.from_pretrained(unet, low_cpu_mem_usage=False),
    ),
    "placed by stock, of transformers": (
        CLIPTextModel,
        lambda clip, unet, ddpm, _: CLIPTextModel.from_pretrained(clip, attn_implementation="eager"),
    ),
    "a single file": (AutoencoderKL, lambda clip, unet, ddpm, vae: single_file(vae)),
    "in a pipeline's own code": (UNet2DModel, lambda clip, unet, ddpm, _: BuildsInItsInit.from_pretrained(ddpm)),
}


@pytest.mark.parametrize("how", LOADS)
def test_whoever_constructs_in_a_load_holds_the_lock(
    how: str,
    lock: ObservedLock,
    clip: Path,
    unet_without_a_key: Path,
    vae: Path,
    saved: Saved,
    installed: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ddpm = saved("ddpm")
    cls, load = LOADS[how]
    held = []
    original = torch.nn.Module.__init__

    def observed(self: Any, *arguments: Any, **keywords: Any) -> None:
        if isinstance(self, cls):
            held.append(lock.is_mine())
        original(self, *arguments, **keywords)

    monkeypatch.setattr(torch.nn.Module, "__init__", observed)
    load(clip, unet_without_a_key, ddpm, vae)

    assert held
    assert all(held)
    assert lock.depth == 0


def test_stock_looks_for_its_files_without_the_lock(
    lock: ObservedLock, unet_without_a_key: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloads would make everybody wait."""
    held = []

    def observed(original: Any) -> Any:
        def fetch(*arguments: Any, **keywords: Any) -> Any:
            held.append(lock.is_mine())
            return original(*arguments, **keywords)

        return fetch

    import diffusers.models.modeling_utils as stock

    monkeypatch.setattr(stock, "_get_model_file", observed(stock._get_model_file))
    UNet2DModel.from_pretrained(unet_without_a_key)

    assert held == [False]


# -- accelerate's patch -----------------------------------------------------------------------------------------------


def test_accelerates_patch_counts_on_its_own_thread(installed: None) -> None:
    with accelerate.init_empty_weights():
        assert torch.nn.Linear(2, 2).weight.is_meta
        with thread(lambda: torch.nn.Linear(2, 2)) as other:
            assert not other.result().weight.is_meta
        assert torch.nn.Linear(2, 2).weight.is_meta


def test_blocks_that_end_out_of_order_leave_nothing_behind(installed: None) -> None:
    begun = [threading.Event(), threading.Event()]
    end = [threading.Event(), threading.Event()]

    def work(number: int) -> bool:
        with accelerate.init_empty_weights():
            begun[number].set()
            assert end[number].wait(PATIENCE)
            return bool(torch.nn.Linear(2, 2).weight.is_meta)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work, 0)
        assert begun[0].wait(PATIENCE)
        second = pool.submit(work, 1)
        assert begun[1].wait(PATIENCE)
        end[0].set()
        assert first.result(PATIENCE)
        end[1].set()
        assert second.result(PATIENCE)

    assert torch.nn.Module.register_parameter is GENUINE


class Odd(torch.nn.Parameter):
    def __new__(cls, data: Any = None, requires_grad: bool = True, note: str = "") -> Odd:
        made = torch.Tensor._make_subclass(cls, data, requires_grad)
        made.note = note
        return made


class WithAllKindsOfParameters(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
        self.whole = torch.nn.Parameter(torch.ones(2, dtype=torch.int32), requires_grad=False)
        self.odd = Odd(torch.ones(3), note="kept")
        self.marked = torch.nn.Parameter(torch.ones(2))
        marked = torch.nn.Parameter(torch.ones(2))
        if TAKES_MARKS:
            marked._is_hf_initialized = True
        self.register_parameter("marked", marked)
        self.register_parameter("none", None)
        self.register_buffer("buffer", torch.ones(2))


@pytest.mark.parametrize("include_buffers", [None, False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_it_makes_what_accelerate_makes(depth: int, include_buffers: bool | None) -> None:
    def build() -> list[Any]:
        with contextlib.ExitStack() as blocks:
            for _ in range(depth):
                blocks.enter_context(accelerate.init_empty_weights(include_buffers=include_buffers))
            model = WithAllKindsOfParameters()
        tensors = [*model.named_parameters(), *model.named_buffers()]
        return [(name, type(t), t.device, t.dtype, t.requires_grad, sorted(vars(t).items())) for name, t in tensors]

    stock = build()
    with warpload.accelerated():
        ours = build()

    assert ours == stock


# -- code that is none of ours ----------------------------------------------------------------------------------------


def test_a_patch_on_another_thread_is_named_in_the_log(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    folder = saved("ddpm") / "unet"
    elsewhere = Elsewhere()
    elsewhere.begin()
    with warpload.accelerated():
        model = UNet2DModel.from_pretrained(folder)
    elsewhere.end()

    assert on_meta(model) == []
    assert any("register_parameter is patched" in message and "accelerate" in message for message in caplog.messages)


def test_a_patch_that_ends_after_ours_leaves_no_patch_of_ours(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("ddpm") / "unet"
    elsewhere = Elsewhere()
    original = UNet2DModel.__init__

    @functools.wraps(original)
    def begin(self: Any, *arguments: Any, **keywords: Any) -> None:
        elsewhere.begin()
        original(self, *arguments, **keywords)

    with warpload.accelerated():
        with monkeypatch.context() as patched:
            patched.setattr(UNet2DModel, "__init__", begin)
            model = UNet2DModel.from_pretrained(folder)
        elsewhere.end()

        assert on_meta(model) == []
        assert not torch.nn.Linear(2, 2).weight.is_meta
        assert on_meta(UNet2DModel.from_pretrained(folder)) == []


class Disturbed(CLIPTextModel):  # type: ignore[misc]
    """A model beside which another thread patches, from the midst of its construction to its end."""

    times = 0
    built = 0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        type(self).built += 1
        self.elsewhere = Elsewhere() if type(self).built <= type(self).times else None
        if self.elsewhere is not None:
            self.elsewhere.begin()

    def eval(self) -> Any:
        if self.elsewhere is not None:
            self.elsewhere.end()
            self.elsewhere = None
        return super().eval()


def placed_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each tensor placed by transformers' own function, which asks torch's; ours goes past what may be patched."""
    genuine = core_model_loading.set_param_for_module
    monkeypatch.setattr(core_model_loading, "set_param_for_module", lambda *arguments: genuine(*arguments))


def test_what_is_placed_without_detours_is_not_spoilt(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disturbed, "times", 1)
    monkeypatch.setattr(Disturbed, "built", 0)
    with warpload.accelerated():
        model = Disturbed.from_pretrained(clip)

    assert Disturbed.built == 1
    assert_same_model(model, Disturbed.from_pretrained(clip))


@needs_marks
@pytest.mark.parametrize("arguments", [{}, {"attn_implementation": "eager"}], ids=["native", "placed-by-stock"])
def test_a_model_that_another_thread_spoilt_is_built_anew(
    arguments: dict[str, Any], clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Disturbed, "times", 1)
    monkeypatch.setattr(Disturbed, "built", 0)
    placed_by_the_library(monkeypatch)
    with warpload.accelerated():
        model = Disturbed.from_pretrained(clip, **arguments)

    assert Disturbed.built == 2
    assert_same_model(model, Disturbed.from_pretrained(clip, **arguments))
    assert any("built anew" in message for message in caplog.messages)


@needs_marks
@pytest.mark.parametrize("arguments", [{}, {"attn_implementation": "eager"}], ids=["native", "placed-by-stock"])
def test_a_model_that_is_spoilt_again_is_an_error(
    arguments: dict[str, Any], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disturbed, "times", 2)
    monkeypatch.setattr(Disturbed, "built", 0)
    placed_by_the_library(monkeypatch)
    with warpload.accelerated(), pytest.raises(warpload.WarploadError, match="register_parameter") as raised:
        Disturbed.from_pretrained(clip, **arguments)

    assert "Disturbed" in str(raised.value)


@needs_marks
def test_under_ones_own_patch_a_model_is_as_with_stock(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    def load() -> CLIPTextModel:
        with accelerate.init_empty_weights():
            return CLIPTextModel.from_pretrained(clip)

    stock = load()
    with warpload.accelerated():
        inside = load()
    with accelerate.init_empty_weights(), warpload.accelerated():
        around = CLIPTextModel.from_pretrained(clip)

    assert on_meta(stock)
    assert on_meta(inside) == on_meta(around) == on_meta(stock)
    assert logging.ERROR not in [record.levelno for record in caplog.records if record.name == "warpload"]


# -- all at once ------------------------------------------------------------------------------------------------------


def test_many_threads_at_once_get_whole_models(
    clip: Path, unet_without_a_key: Path, saved: Saved, installed: None
) -> None:
    folder = saved("ddpm")
    together = threading.Barrier(4)

    def native_ones() -> list[Any]:
        together.wait(PATIENCE)
        return [CLIPTextModel.from_pretrained(clip, dtype=torch.bfloat16) for _ in range(15)]

    def placed_by_stock() -> list[Any]:
        together.wait(PATIENCE)
        return [UNet2DModel.from_pretrained(unet_without_a_key) for _ in range(15)]

    def pipelines() -> list[Any]:
        together.wait(PATIENCE)
        return [DDPMPipeline.from_pretrained(folder, dtype=torch.float16).unet for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(work) for work in (native_ones, native_ones, placed_by_stock, pipelines)]
        first, second, placed, piped = [load.result(PATIENCE * 2) for load in loads]

    assert [on_meta(model) for model in (*first, *second, *piped)] == [[]] * 38
    assert {model.dtype for model in (*first, *second)} == {torch.bfloat16}
    assert [on_meta(model) for model in placed] == [["conv_in.bias"]] * 15
    assert construction.foreign_patch() is None
