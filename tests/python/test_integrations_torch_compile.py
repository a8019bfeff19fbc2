"""docs/integrations/torch-compile.md: what the core loads is compiled as stock's is, and computes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support import integration_pages as pages
from support.compare import bytes_of
from support.loading import load_both
from support.pipelines import Saved
from support.processes import run_python


@pytest.fixture(autouse=True)
def _compiled_by_nobody_before() -> Iterator[None]:
    """Let no test find what another has compiled: what is compiled anew, and why, depends on it."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Graphs:
    """A backend that runs what it is given as it is, and keeps how it reads."""

    def __init__(self) -> None:
        self.code: list[str] = []

    def __call__(self, module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        self.code.append(module.print_readable(print_output=False))
        return module.forward


def sdxl(model: torch.nn.Module, side: int = 8) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    text = torch.randn(1, 7, 16, generator=random)
    added = {"text_embeds": torch.randn(1, 8, generator=random), "time_ids": torch.zeros(1, 6)}
    with torch.no_grad():
        return model(torch.randn(1, 4, side, side, generator=random), 1, text, added_cond_kwargs=added).sample


def flux(model: Any, side: int = 2) -> torch.Tensor:
    wide: dict[str, Any] = {"dtype": model.dtype, "generator": torch.Generator().manual_seed(0)}
    with torch.set_grad_enabled(model.training):
        return model(
            hidden_states=torch.randn(1, side * side, 4, **wide),
            encoder_hidden_states=torch.randn(1, 5, 8, **wide),
            pooled_projections=torch.randn(1, 8, **wide),
            timestep=torch.tensor([0.5], dtype=model.dtype),
            img_ids=torch.zeros(side * side, 3),
            txt_ids=torch.zeros(5, 3),
        ).sample


MODELS: dict[str, tuple[str, str, Callable[..., torch.Tensor]]] = {
    "sdxl": ("stable-diffusion-xl", "unet", sdxl),
    "flux": ("flux", "transformer", flux),
}
Pair = tuple[torch.nn.Module, torch.nn.Module, Callable[..., torch.Tensor]]


def load_pair(name: str, saved: Saved) -> Pair:
    family, component, call = MODELS[name]
    ours, stock = load_both(saved(family))
    return getattr(ours, component), getattr(stock, component), call


def compared(pair: Pair, compile_it: Callable[[Any, Graphs], Any], *sides: int) -> Graphs:
    """Fail unless both are compiled to the same graphs and give what stock gives uncompiled; return ours."""
    ours, stock, call = pair
    expected = [bytes_of(call(stock, side)) for side in sides or (4,)]
    found = []
    for model in (ours, stock):
        torch._dynamo.reset()
        found.append(Graphs())
        compiled = compile_it(model, found[-1])
        assert [bytes_of(call(compiled, side)) for side in sides or (4,)] == expected
    assert found[0].code
    assert found[0].code == found[1].code
    return found[0]


def whole(model: torch.nn.Module, graphs: Graphs) -> Any:
    return torch.compile(model, backend=graphs)


def blocks(model: Any, graphs: Graphs) -> Any:
    model.compile_repeated_blocks(fullgraph=True, backend=graphs)
    return model


# SDXL's U-Net as a whole is compiled by test_lazy_imports.
@pytest.mark.parametrize(("name", "how"), [("sdxl", blocks), ("flux", blocks), ("flux", whole)])
def test_graphs_and_numbers_are_stocks(name: str, how: Callable[[Any, Graphs], Any], saved: Saved) -> None:
    compared(load_pair(name, saved), how)


def test_another_size_is_compiled_anew_as_often_as_with_stock(saved: Saved) -> None:
    kinds_of_blocks = 2

    assert len(compared(load_pair("flux", saved), blocks, 2, 3).code) > kinds_of_blocks


def test_after_a_move_to_another_dtype_it_is_compiled_as_stocks_is(saved: Saved) -> None:
    ours, stock = load_both(saved("flux"))
    for pipeline in (ours, stock):
        pipeline.to("cpu", torch.float64)

    graphs = compared((ours.transformer, stock.transformer, flux), blocks, 2)

    assert "f64" in "".join(graphs.code)


def test_the_gradients_of_what_is_compiled_are_stocks(saved: Saved) -> None:
    """By the backend that traces backwards, too."""
    gradients = []
    for pipeline in load_both(saved("flux")):
        torch._dynamo.reset()
        model = pipeline.transformer.train()
        model.compile_repeated_blocks(backend="aot_eager")
        flux(model).sum().backward()
        gradients.append({name: bytes_of(each.grad) for name, each in model.named_parameters()})

    assert gradients[0]
    assert gradients[0] == gradients[1]


def test_the_pages_snippets_compile_what_they_say(saved: Saved) -> None:
    graphs = Graphs()
    cpu = {'device_map="cuda"': 'device_map="cpu"', "path/or/hub-id": str(saved("flux")), "bfloat16": "float32"}
    told = {"fullgraph=True": "fullgraph=True, backend=graphs", **cpu}
    names = pages.run("torch-compile", "compile_repeated_blocks", told, graphs=graphs)
    flux(names["pipe"].transformer)
    assert graphs.code

    of_blocks = len(graphs.code)
    told = {
        "dynamic=True": "backend=graphs",
        "torch.compile(pipe.vae.decode)": "torch.compile(pipe.vae.decode, backend=graphs)",
    }
    names = pages.run("torch-compile", "pipe.vae.decode", told, **names)
    names["pipe"].vae.decode(torch.zeros(1, 1, 4, 4))
    assert len(graphs.code) > of_blocks

    pages.run("torch-compile", 'pipe.to("cuda")', {'"cuda"': '"cpu"'}, **names)
    names["pipe"].vae.decode(torch.zeros(1, 1, 4, 4))


def test_the_pages_start_names_a_cache_that_the_compiler_takes_and_a_prefetch_that_the_load_takes(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # torch sets it when it compiles
    code = pages.block("torch-compile", "TORCHINDUCTOR_CACHE_DIR")
    folder = saved("ddpm")
    for said, own in {"/models/inductor": str(tmp_path), "path/or/hub-id": str(folder), '"cuda"': '"cpu"'}.items():
        assert said in code
        code = code.replace(said, own)
    run_python(
        code
        + """
import sys
assert "torch" not in sys.modules
import torch
pipe = warpload.DiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
assert warpload.last_report().prefetched.keys() == {"unet"}
from torch._inductor.runtime.cache_dir_utils import cache_dir
assert cache_dir() == sys.argv[2]
""",
        folder,
        tmp_path,
    )
