"""Forks while other threads load: a child starts anew what those held, and keeps what is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pipelines import Saved
from support.processes import run_python

# `in_child(function)` fails unless the function returns in a child, and in time. `Held` holds a thread of the parent up
# where it calls a function that is patched meanwhile.
_PRELUDE = """
import contextlib, gc, multiprocessing, os, sys, threading
from unittest import mock
import diffusers, torch, transformers, warpload
from support.compare import assert_same_model, assert_same_pipeline, assert_same_tensors
from warpload import collector
from warpload.stock import replacing
from warpload.stock.construction_lock import construction_lock
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

def in_child(function):
    def run_in_time():
        import faulthandler
        faulthandler.dump_traceback_later(60, exit=True)
        function()
    process = multiprocessing.get_context("fork").Process(target=run_in_time)
    process.start()
    process.join(90)
    code = process.exitcode
    if code is None:
        process.kill()
    assert code == 0, code

class Held:
    def __init__(self, owner, name):
        self.there, self.go_on, self.failed = threading.Event(), threading.Event(), []
        original = getattr(owner, name)
        def held(*arguments, **named):
            if threading.current_thread() is self.thread:
                self.there.set()
                assert self.go_on.wait(120)
            return original(*arguments, **named)
        self.patch = mock.patch.object(owner, name, held)
    def run(self, function):
        def run():
            try:
                function()
            except BaseException as error:
                self.failed.append(error)
        self.thread = threading.Thread(target=run)
        return self
    def __enter__(self):
        self.patch.start()
        self.thread.start()
        assert self.there.wait(60), self.failed
    def __exit__(self, *raised):
        self.go_on.set()
        self.thread.join()
        self.patch.stop()
        assert not self.failed, self.failed
"""


@pytest.mark.parametrize("family", ["ddpm", "stable-diffusion"])
def test_a_child_of_a_process_that_loads_in_another_thread_loads_as_stock(family: str, saved: Saved) -> None:
    """The thread is held where the module is half built: everything that can be held or patched is."""
    run_python(
        f"""{_PRELUDE}
folder = sys.argv[1]
stock = diffusers.DiffusionPipeline.from_pretrained(folder)
originals = [vars(diffusers.ModelMixin)["from_pretrained"], torch.nn.Module.register_parameter, torch.nn.init.normal_]
def load():
    assert warpload.last_report() is None
    return warpload.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float16)
def child():
    assert gc.isenabled()
    assert torch.get_default_dtype() == torch.float32
    assert len(replacing._holders["loads"]) == 0
    found = [vars(diffusers.ModelMixin)["from_pretrained"], torch.nn.Module.register_parameter, torch.nn.init.normal_]
    assert found == originals
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"
    for _ in range(2):
        assert_same_pipeline(warpload.DiffusionPipeline.from_pretrained(folder), stock)
    warpload.install()
    assert_same_pipeline(diffusers.DiffusionPipeline.from_pretrained(folder), stock)
    warpload.uninstall()
    assert vars(diffusers.ModelMixin)["from_pretrained"] == originals[0]
    assert gc.isenabled()
assert torch.get_default_dtype() == torch.float32
with Held(diffusers.UNet2DModel if "{family}" == "ddpm" else diffusers.AutoencoderKL, "from_config").run(load):
    assert not gc.isenabled() and torch.get_default_dtype() == torch.float16
    assert torch.nn.Module.register_parameter != originals[1]
    for _ in range(2):
        in_child(child)
assert gc.isenabled() and torch.get_default_dtype() == torch.float32
assert_same_pipeline(warpload.DiffusionPipeline.from_pretrained(folder), stock)
""",
        saved(family),
    )


def test_a_child_finds_locks_free_that_threads_of_its_parent_hold(saved: Saved) -> None:
    run_python(
        f"""{_PRELUDE}
from warpload import devices, engine
folder = sys.argv[1]
stock = diffusers.DiffusionPipeline.from_pretrained(folder)
locks = [construction_lock, replacing._lock, collector._lock]
locks += [devices._core_devices_lock, engine._loaders_lock]
held, go_on = threading.Event(), threading.Event()
def hold():
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        held.set()
        go_on.wait(120)
thread = threading.Thread(target=hold)
thread.start()
held.wait()
in_child(lambda: assert_same_pipeline(warpload.DiffusionPipeline.from_pretrained(folder), stock))
go_on.set()
thread.join()
""",
        saved("ddpm"),
    )


def test_what_the_thread_that_forks_holds_is_still_its_own_in_the_child(mixed: Path) -> None:
    run_python(
        f"""{_PRELUDE}
def replaced():
    return hasattr(vars(diffusers.ModelMixin)["from_pretrained"], "__wrapped__") and replacing.active()
def released_in(status):
    return os.waitstatus_to_exitcode(os.waitpid(status, 0)[1])
plain = vars(diffusers.ModelMixin)["from_pretrained"]
thread_is_in, go_on = threading.Event(), threading.Event()
def use():
    with replacing.accelerated(), collector.suspended():
        thread_is_in.set()
        go_on.wait(120)
thread = threading.Thread(target=use)
thread.start()
thread_is_in.wait()
with replacing.accelerated(), collector.suspended(), construction_lock:
    child = os.fork()
    if child == 0:
        if len(replacing._holders["loads"]) != 1 or gc.isenabled() or not replacing.active():
            os._exit(2)
if child == 0:
    with construction_lock:
        pass
    os._exit(0 if gc.isenabled() and vars(diffusers.ModelMixin)["from_pretrained"] is plain else 3)
assert released_in(child) == 0
assert not gc.isenabled()
go_on.set()
thread.join()
assert gc.isenabled() and vars(diffusers.ModelMixin)["from_pretrained"] is plain
""",
        mixed,
    )


def test_what_is_installed_stays_so_in_a_child_until_it_uninstalls(saved: Saved) -> None:
    run_python(
        f"""{_PRELUDE}
folder = sys.argv[1]
stock = diffusers.DiffusionPipeline.from_pretrained(folder)
plain = vars(diffusers.ModelMixin)["from_pretrained"]
installer = threading.Thread(target=warpload.install)  # which is gone by the time of the fork
installer.start()
installer.join()
def child():
    assert_same_pipeline(diffusers.DiffusionPipeline.from_pretrained(folder), stock)
    assert set(warpload.last_report().components.values()) == {{"native"}}
    warpload.uninstall()
    assert vars(diffusers.ModelMixin)["from_pretrained"] is plain
    diffusers.DiffusionPipeline.from_pretrained(folder)
in_child(child)
assert vars(diffusers.ModelMixin)["from_pretrained"] is not plain
warpload.uninstall()
assert vars(diffusers.ModelMixin)["from_pretrained"] is plain
""",
        saved("ddpm"),
    )


def test_waiting_for_a_load_of_the_parents_is_an_error_at_once(tmp_path: Path) -> None:
    """A gigabyte without a block on disk, cast by one worker, is under way when the process forks."""
    run_python(
        f"""{_PRELUDE}
from pathlib import Path
from support.checkpoints import framed
from warpload import engine
file = Path(sys.argv[1])
header = b'{{"t": {{"dtype": "F16", "shape": [1073741824], "data_offsets": [0, 2147483648]}}}}'
with open(file, "wb") as sparse:
    sparse.write(framed(header))
    sparse.truncate(8 + len(header) + (1 << 31))
def refused(call):
    try:
        call()
    except warpload.InvalidArgumentError as error:
        assert "child by fork" in str(error) and "load anew" in str(error), error
    else:
        raise AssertionError("not refused")
with warpload.LoadOptions(threads=1):
    handle = engine.start([engine.request(engine.open_checkpoint(file), dtype="BF16")])
def child():
    for call in (
        handle.wait,
        handle.cancel,
        lambda: handle.wait_segment(0),
        lambda: handle.wait_arrival(0),
        lambda: handle.make_stream_wait(0, 0),
        lambda: handle.release_segment(0),
        lambda: handle.tensors(0),
    ):
        refused(call)
    assert handle.done
def drop():
    global handle
    del handle
    gc.collect()
in_child(child)
in_child(drop)
assert not handle.done
handle.cancel()
""",
        tmp_path / "sparse.safetensors",
    )


def test_a_fork_within_a_load_gives_the_child_an_error_for_it_and_its_own_loads(saved: Saved) -> None:
    """The thread that forks is inside from_pretrained, as where a model's code starts a process."""
    run_python(
        f"""{_PRELUDE}
folder = sys.argv[1]
stock = diffusers.DiffusionPipeline.from_pretrained(folder)
stock_unet = diffusers.UNet2DModel.from_pretrained(folder, subfolder="unet")
original, children = diffusers.UNet2DModel.from_config.__func__, []
def child():
    assert_same_model(warpload.UNet2DModel.from_pretrained(folder, subfolder="unet"), stock_unet)
    assert_same_pipeline(warpload.DiffusionPipeline.from_pretrained(folder), stock)
def from_config(cls, *arguments, **named):
    if not children:
        children.append(True)
        in_child(child)
    return original(cls, *arguments, **named)
with mock.patch.object(diffusers.UNet2DModel, "from_config", classmethod(from_config)):
    ours = warpload.DiffusionPipeline.from_pretrained(folder)
assert children
assert_same_pipeline(ours, stock)
""",
        saved("ddpm"),
    )
