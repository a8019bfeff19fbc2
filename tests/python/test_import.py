"""The package in a process: what an import brings, the collector, threads, forks and Ctrl-C."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import diffusers
import pytest
import torch

import warpload
from support.bad_files import good
from support.checkpoints import weight_file
from support.compare import assert_same_pipeline
from support.pipelines import Saved
from support.processes import run_python
from warpload import collector

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub", "numpy")


def test_importing_the_package_imports_nothing_heavy() -> None:
    run_python(f"import sys, warpload; assert not sys.modules.keys() & set({HEAVY!r}), sys.modules.keys()")


def test_importing_the_package_brings_nothing_but_the_core() -> None:
    """Not even ``typing``, which takes longer than all the rest."""
    run_python(
        """
import __future__, importlib, sys
before = set(sys.modules)
import warpload
assert set(sys.modules) - before == {"warpload", "warpload._core"}, set(sys.modules) - before
"""
    )


def test_asking_for_names_and_errors_imports_nothing_heavy() -> None:
    run_python(
        f"""
import sys, warpload
warpload.__version__, warpload.DiffusionPipeline, warpload.load_file, warpload.safe_open, warpload.last_report()
warpload.FormatError, dir(warpload), repr(warpload.DiffusionPipeline)
assert warpload.StableDiffusionXLPipeline is warpload.StableDiffusionXLPipeline
assert not sys.modules.keys() & set({HEAVY!r}), sys.modules.keys()
"""
    )


def test_load_file_imports_neither_diffusers_nor_transformers(tmp_path: Path) -> None:
    file = tmp_path / "good.safetensors"
    file.write_bytes(good())

    run_python(
        """
import sys, warpload
assert warpload.load_file(sys.argv[1])["b"].tolist() == [16, 17, 18, 19]
assert not sys.modules.keys() & {"diffusers", "transformers", "accelerate"}, sys.modules.keys()
""",
        file,
    )


def test_an_unknown_pipeline_is_refused_without_importing_diffusers() -> None:
    run_python(
        """
import sys, warpload
for name in ("NoSuchPipeline", "no_such_name"):
    try:
        getattr(warpload, name)
    except AttributeError as error:
        assert name in str(error), error
    else:
        raise AssertionError(name)
assert "diffusers" not in sys.modules
"""
    )


def test_all_public_names_are_listed_and_there() -> None:
    assert set(warpload.__all__) <= set(dir(warpload))
    for name in warpload.__all__:
        assert getattr(warpload, name) is not None


def test_the_errors_are_one_family_and_builtins() -> None:
    for error, builtin in {
        warpload.FormatError: ValueError,
        warpload.IoError: OSError,
        warpload.OutOfMemoryError: MemoryError,
        warpload.DeviceError: RuntimeError,
        warpload.InvalidArgumentError: ValueError,
    }.items():
        assert issubclass(error, warpload.WarploadError)
        assert issubclass(error, builtin)


def test_a_loaded_pipeline_is_an_instance_of_both_libraries_classes(saved: Saved) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"))

    assert type(pipeline) is diffusers.DDPMPipeline
    assert isinstance(pipeline, warpload.DiffusionPipeline)
    assert isinstance(pipeline, warpload.DDPMPipeline)
    assert not isinstance(pipeline, warpload.StableDiffusionPipeline)
    assert not isinstance(pipeline.unet, warpload.DiffusionPipeline)
    assert issubclass(diffusers.DDPMPipeline, warpload.DiffusionPipeline)
    assert issubclass(warpload.DDPMPipeline, warpload.DiffusionPipeline)


def test_the_facade_has_what_the_diffusers_class_has(saved: Saved) -> None:
    assert (
        warpload.StableDiffusionPipeline.model_cpu_offload_seq
        == diffusers.StableDiffusionPipeline.model_cpu_offload_seq
    )
    pipeline = warpload.DDPMPipeline.from_pretrained(saved("ddpm"))

    again = warpload.DDPMPipeline(unet=pipeline.unet, scheduler=pipeline.scheduler)

    assert type(again) is diffusers.DDPMPipeline
    assert again.unet is pipeline.unet


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("succeeds", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool, succeeds: bool, copied: Saved) -> None:
    folder = copied("ddpm")
    if not succeeds:
        weight_file(folder / "unet").write_bytes(b"nonsense")
    (gc.enable if enabled else gc.disable)()
    try:
        if succeeds:
            warpload.DiffusionPipeline.from_pretrained(folder)
        else:
            with pytest.raises(warpload.FormatError):
                warpload.DiffusionPipeline.from_pretrained(folder)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_the_collector_comes_back_with_the_outermost_use() -> None:
    with collector.suspended():
        with collector.suspended():
            assert not gc.isenabled()
        assert not gc.isenabled()

    assert gc.isenabled()


def test_the_collector_comes_back_with_the_last_of_several_threads() -> None:
    entered, leave = threading.Barrier(3), threading.Barrier(3)

    def hold() -> None:
        with collector.suspended():
            entered.wait()
            leave.wait()

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait()
    assert not gc.isenabled()
    leave.wait()
    for thread in threads:
        thread.join()

    assert gc.isenabled()


def test_pipelines_loaded_in_threads_at_once_are_right(saved: Saved) -> None:
    calls = [("stable-diffusion", torch.float16), ("wan", torch.bfloat16), ("stable-diffusion-xl", torch.float32)] * 2
    expected = [diffusers.DiffusionPipeline.from_pretrained(saved(name), dtype=dtype) for name, dtype in calls]
    loaded: list[object] = [None] * len(calls)
    together = threading.Barrier(len(calls))

    def load(position: int) -> None:
        name, dtype = calls[position]
        together.wait()
        try:
            loaded[position] = warpload.DiffusionPipeline.from_pretrained(saved(name), dtype=dtype)
        except BaseException as error:  # told by the main thread
            loaded[position] = error

    register_parameter = torch.nn.Module.register_parameter
    threads = [threading.Thread(target=load, args=(position,)) for position in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for ours, stock in zip(loaded, expected, strict=True):
        if isinstance(ours, BaseException):
            raise ours
        assert_same_pipeline(ours, stock)
    assert torch.nn.Module.register_parameter is register_parameter
    assert torch.get_default_dtype() == torch.float32
    assert gc.isenabled()


def test_loading_leaves_torchs_settings_as_they_were(saved: Saved) -> None:
    before = torch.get_default_dtype(), torch.nn.Module.register_parameter, torch.nn.init.normal_

    warpload.DiffusionPipeline.from_pretrained(saved("wan"), dtype=torch.float16)

    assert (torch.get_default_dtype(), torch.nn.Module.register_parameter, torch.nn.init.normal_) == before


def test_a_child_after_fork_loads_and_exits(tmp_path: Path) -> None:
    """The parent's workers do not exist in the child: it has to start its own, and to leave those alone."""
    file = tmp_path / "good.safetensors"
    file.write_bytes(good())

    run_python(
        """
import multiprocessing, sys
import torch, warpload
def values():
    return warpload.load_file(sys.argv[1], dtype=torch.float64)["a"].view(torch.int64).tolist()
def child(queue):
    queue.put(values())
expected = values()
held = warpload.load_file(sys.argv[1], dtype=torch.float64)  # inherited by the children
context = multiprocessing.get_context("fork")
for _ in range(3):
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(timeout=60)
    assert process.exitcode == 0, process.exitcode
assert values() == expected
""",
        file,
    )


def test_a_child_that_loads_nothing_exits(tmp_path: Path) -> None:
    file = tmp_path / "good.safetensors"
    file.write_bytes(good())

    run_python(
        """
import os, sys
import torch, warpload
held = warpload.load_file(sys.argv[1], dtype=torch.float64)
child = os.fork()
if child == 0:
    del held
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
""",
        file,
    )


def test_ctrl_c_ends_a_load_and_not_the_process(tmp_path: Path) -> None:
    """One worker casts two gigabytes of a file without a block on disk; the signal comes once bytes are moving."""
    run_python(
        """
import os, signal, sys, threading
import torch, warpload
from warpload import engine
from support.checkpoints import framed
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
header = b'{"t": {"dtype": "F16", "shape": [1073741824], "data_offsets": [0, 2147483648]}}'
with open(sys.argv[1], "wb") as file:
    file.write(framed(header))
    file.truncate(8 + len(header) + (1 << 31))

handles, started, original = [], threading.Event(), engine.start
def start(*arguments):
    handles.append(original(*arguments))
    started.set()
    return handles[-1]
engine.start = start

def interrupt():
    started.wait()
    while handles[0].bytes_done == 0:
        pass
    os.kill(os.getpid(), signal.SIGINT)

thread = threading.Thread(target=interrupt)
thread.start()
try:
    warpload.load_file(sys.argv[1], dtype=torch.bfloat16)
except KeyboardInterrupt:
    assert handles[0].done
    assert 0 < handles[0].bytes_done < handles[0].bytes_total, handles[0].bytes_done
else:
    raise AssertionError("loaded in spite of the signal")
thread.join()
with open(sys.argv[1], "wb") as file:
    file.write(framed(b'{"t": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}') + bytes([0, 60, 0, 64]))
assert warpload.load_file(sys.argv[1], dtype=torch.float32)["t"].tolist() == [1.0, 2.0]
""",
        tmp_path / "sparse.safetensors",
    )
