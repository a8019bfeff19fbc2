"""Imports that a load puts off: what nobody has asked for is not executed, and nobody can tell when it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.observed import observe
from support.pipelines import Saved
from support.processes import WITHOUT_QUANTISERS, run_python
from warpload.stock.deferred import DEFERRALS

FAMILY = "stable-diffusion-xl"

# Who is asked for in every environment of the tests.
ASKED = {"torch._dynamo", "peft", "peft.helpers", "peft.tuners.tuners_utils", "scipy", "scipy.optimize", "scipy.stats"}

LOAD = (
    WITHOUT_QUANTISERS
    + """
import sys, types, warpload
pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
from warpload.stock import deferred_module
put_off = [arrival.name for arrival in deferred_module.all_put_off()]
"""
)


@pytest.fixture(scope="module")
def folder(saved: Saved) -> Path:
    return saved(FAMILY)


@pytest.fixture(scope="module")
def on(folder: Path) -> dict[str, Any]:
    return observe("on", folder)


@pytest.fixture(scope="module")
def off(folder: Path) -> dict[str, Any]:
    return observe("off", folder)


@pytest.fixture(scope="module")
def stock(folder: Path) -> dict[str, Any]:
    return observe("stock", folder)


def test_a_load_executes_nothing_of_what_is_put_off(on: dict[str, Any], off: dict[str, Any]) -> None:
    assert off["executed"]
    assert on["executed"] == []
    assert {"torch._dynamo.convert_frame", "scipy.linalg", "peft.tuners.lora"} <= set(off["imported"])
    assert not {"torch._dynamo.convert_frame", "scipy.linalg", "peft.tuners.lora"} & set(on["imported"])


def test_nothing_of_the_table_is_turned_off_in_the_versions_that_we_know(on: dict[str, Any]) -> None:
    assert on["turned off"] == {}


def test_what_is_put_off_is_in_sys_modules_as_with_stock(on: dict[str, Any], off: dict[str, Any]) -> None:
    assert set(off["executed"]) & ASKED == set(on["imported"]) & ASKED


def test_an_image_needs_nothing_of_what_is_put_off(on: dict[str, Any]) -> None:
    assert [name for name in on["imported by an image"] if name.startswith(("torch._dynamo", "peft", "scipy"))] == []


def test_without_lazy_imports_a_load_imports_all_that_stock_does(off: dict[str, Any], stock: dict[str, Any]) -> None:
    assert set(stock["imported"]) - set(off["imported"]) == set()


@pytest.mark.parametrize("what", ["image", "trained", "compiled", "registered", "disabled"])
def test_what_comes_of_a_pipeline_is_what_comes_of_stocks(what: str, on: dict[str, Any], stock: dict[str, Any]) -> None:
    assert stock[what]
    assert on[what] == stock[what]


def test_no_stand_in_is_left_once_torch_compile_has_been_used(on: dict[str, Any]) -> None:
    assert on["stand-ins"] == []


def test_what_has_come_has_what_it_has_with_stock(on: dict[str, Any], off: dict[str, Any]) -> None:
    assert all(on["types"][name] for name in on["types"] if name.startswith(("torch", "peft", "scipy")))
    assert on["contents"] == off["contents"]


def test_the_log_says_nothing_of_it(on: dict[str, Any], off: dict[str, Any]) -> None:
    assert "put into place" not in on["stderr"]
    assert on["stderr"].count("Warning") == off["stderr"].count("Warning")


def test_each_line_of_the_table_gives_the_real_module_to_the_first_who_asks(folder: Path) -> None:
    """Where a library is not installed, or was asked for by nobody, there is nothing to put off."""
    run_python(
        LOAD
        + """
import importlib
from support.observed import MODULES
for name in reversed(MODULES):
    if name in put_off:
        before = sys.modules[name]
        module = importlib.import_module(name)
        assert module is before
        assert "__builtins__" in module.__dict__, name
        assert type(module) is types.ModuleType and sys.modules[name] is module, type(module)
        assert module.__spec__.name == name and module.__spec__.loader is module.__loader__
    if name in sys.modules:
        assert type(sys.modules[name]) is types.ModuleType
        package, _, part = name.rpartition(".")
        assert not package or getattr(sys.modules[package], part) is sys.modules[name]
assert deferred_module.all_put_off() == []
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("warpload.stock.defer")]
""",
        folder,
    )


def test_every_line_of_the_table_says_what_it_saves() -> None:
    assert [line.modules for line in DEFERRALS if line.saved <= 0 or not line.why or not line.words] == []


def test_names_that_were_taken_out_of_a_module_are_real_for_whoever_asks(folder: Path) -> None:
    run_python(
        LOAD
        + """
import inspect, pickle, typing
import diffusers.hooks.layerwise_casting as casting
import diffusers.utils.torch_utils as torch_utils
import transformers.loss.loss_for_object_detection as loss
from transformers.loss.loss_for_object_detection import linear_sum_assignment
assert {"scipy.optimize", "peft.helpers", "torch._dynamo"} <= set(put_off), put_off

import scipy.optimize
assert linear_sum_assignment is scipy.optimize.linear_sum_assignment is loss.linear_sum_assignment
assert pickle.loads(pickle.dumps(linear_sum_assignment)) is linear_sum_assignment
assert loss.HungarianMatcher.forward.__wrapped__.__globals__["linear_sum_assignment"] is linear_sum_assignment

found = dict(inspect.getmembers(casting))
import peft.tuners.tuners_utils, peft.helpers
assert found["BaseTunerLayer"] is peft.tuners.tuners_utils.BaseTunerLayer
assert found["disable_input_dtype_casting"] is peft.helpers.disable_input_dtype_casting
assert type(casting) is types.ModuleType

assert vars(torch_utils)["maybe_allow_in_graph"] is sys.modules["torch._dynamo"].allow_in_graph
assert typing.get_type_hints(type(pipeline.scheduler).step)
""",
        folder,
    )


def test_torch_compile_finds_the_real_objects_wherever_something_stood_for_them(folder: Path) -> None:
    run_python(
        LOAD
        + """
from support.observed import _stand_ins
assert "torch._dynamo" in put_off and any("linear_sum_assignment" in name for name in _stand_ins())
sys.modules["torch._dynamo"].config
assert list(_stand_ins()) == []
""",
        folder,
    )


def test_what_the_user_has_imported_is_left_as_it_is(folder: Path) -> None:
    run_python(
        """
import sys, types
import scipy.stats, torch._dynamo
"""
        + LOAD
        + """
assert "scipy.stats" not in put_off and "scipy" not in put_off and "torch._dynamo" not in put_off
assert scipy.stats.beta.ppf(0.5, 1, 1) == 0.5
from diffusers.utils import torch_utils
assert torch_utils.maybe_allow_in_graph is torch._dynamo.allow_in_graph
assert type(torch_utils) is types.ModuleType
""",
        folder,
    )


def test_imports_of_other_code_and_other_threads_are_never_put_off(folder: Path) -> None:
    run_python(
        """
import sys, threading, types
from warpload.stock import deferring
with deferring.imports_put_off():
    import scipy.optimize  # by this code, which the table does not name
    thread = threading.Thread(target=__import__, args=("diffusers.utils.torch_utils",))
    thread.start()
    thread.join()
assert type(sys.modules["scipy.optimize"]) is types.ModuleType
assert type(sys.modules["torch._dynamo"]) is types.ModuleType
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("warpload")]
""",
        folder,
    )


@pytest.mark.parametrize("text", ["0", "off", "no", "FALSE"])
def test_the_environment_turns_it_off(text: str, folder: Path) -> None:
    run_python(
        f"import os; os.environ['WARPLOAD_LAZY_IMPORTS'] = {text!r}\n"
        + LOAD
        + "assert put_off == [] and type(sys.modules['torch._dynamo']) is types.ModuleType",
        folder,
    )


def test_a_broken_library_is_an_error_for_those_who_use_it(folder: Path, tmp_path: Path) -> None:
    """With stock the load fails. Here it is whoever needs the library, with the same error, each time."""
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("raise ImportError('scipy is broken')\n")
    for part in ("integrate", "optimize", "stats"):
        (tmp_path / "scipy" / f"{part}.py").touch()
    broken = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    by_stock = run_python(
        broken + "import diffusers; diffusers.DiffusionPipeline.from_pretrained(sys.argv[1])", folder, check=False
    )
    assert by_stock.returncode != 0
    assert "scipy is broken" in by_stock.stderr

    run_python(
        broken
        + LOAD
        + """
from diffusers.schedulers import scheduling_euler_discrete
for _ in range(2):
    try:
        scheduling_euler_discrete.scipy.stats.beta
    except ImportError as error:
        assert str(error) == "scipy is broken", error
    else:
        raise AssertionError
import torch._dynamo
torch._dynamo.config
assert type(torch._dynamo) is types.ModuleType
""",
        folder,
    )
