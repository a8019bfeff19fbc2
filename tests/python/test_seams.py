"""Every seam of the table in turn is not as we know it: stock does what needs it, right, and we say so once."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import CLIPTextModel, GPT2LMHeadModel

import warpload
from support import models
from support.compare import assert_same_model, assert_same_pipeline
from support.other_versions import LIBRARIES, moved, of, renamed
from support.pipelines import MODELS, Saved
from support.processes import run_python
from support.said import warnings_of
from support.versions import is_pinned
from warpload.stock import seam_check
from warpload.stock.seams import SEAMS, Seam

# Two pipelines that ask for much: keys of old names, buffers, ties; parts that both libraries keep in float32.
PIPELINES = {"stable-diffusion": torch.bfloat16, "wan": torch.float16}
OF_TRANSFORMERS = {"text_encoder", "safety_checker"}
# What no load of a whole pipeline uses.
UNUSED = {"single files", "converted files", "adapters", "adapter layers", "modular pipelines"}


def module_of(seam: Seam) -> Any:
    try:
        return importlib.import_module(seam.module)
    except ImportError:
        return None


def owners_of(seam: Seam) -> list[Any]:
    module = module_of(seam)
    return [] if module is None else seam.owners(module)


def known(seam: Seam) -> bool:
    """Tell whether the installed versions have a seam: what they lack cannot be taken away."""
    return bool(owners_of(seam))


KNOWN = [seam for seam in SEAMS if known(seam)]


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every seam be checked anew, as in a process of its own."""
    monkeypatch.setattr(seam_check, "_checked", set())
    monkeypatch.setattr(seam_check, "_broken", {})
    seam_check._owner.cache_clear()
    yield
    seam_check._owner.cache_clear()


def replaceable() -> dict[tuple[int, str], Any]:
    """Return every attribute that is replaced, as it is now."""
    own = [
        (owner, seam.attribute) for seam in SEAMS if seam.by and seam.held == ("loads",) for owner in owners_of(seam)
    ]
    return {(id(owner), name): vars(owner)[name] for owner, name in own}


def assert_told(seam: Seam, report: warpload.LoadReport, family: str, reason: str) -> None:
    """Fail unless the report says who loaded what, and why."""
    assert report.turned_off == dict.fromkeys(seam.features, reason)
    assert report.components.keys() == MODELS[family]
    for name, who in report.components.items():
        feature = "transformers models" if name in OF_TRANSFORMERS else "diffusers models"
        if "modes" in seam.features:
            assert who == f"stock: {reason}"
        else:
            assert who == "native"
            assert report.placed_by_stock.get(name) == (reason if feature in seam.features else None), name


def assert_loads_right(seam: Seam, saved: Saved, log: pytest.LogCaptureFixture, fault: str) -> None:
    """Load both pipelines: right, with one warning that names symbol and version, and everything put back."""
    before = replaceable()
    for family, dtype in PIPELINES.items():
        stock = diffusers.DiffusionPipeline.from_pretrained(saved(family), dtype=dtype)

        ours = warpload.DiffusionPipeline.from_pretrained(saved(family), dtype=dtype)

        assert_same_pipeline(ours, stock)
        report = warpload.last_report()
        if fault:
            (warning,) = warnings_of(log)
            reason = f"{seam} {fault} in {seam.library} {seam_check.version(seam.library)}"
            assert warning.startswith(f"{reason}: ")
            assert_told(seam, report, family, reason)
        else:
            assert warnings_of(log) == []
            assert report.turned_off == {}
            assert report.components == dict.fromkeys(MODELS[family], "native")
    assert replaceable() == before


@contextlib.contextmanager
def taken_away(seam: Seam) -> Iterator[None]:
    """Let a symbol be missing inside the block, in libraries that go on working."""
    with contextlib.ExitStack() as changes:
        for owner in owners_of(seam) if seam.by and "." in seam.name and seam.attribute in PUBLIC else []:
            changes.enter_context(moved(owner, seam.attribute))
        if seam.feature in UNUSED:
            for owner in owners_of(seam):
                own = owner if seam.attribute in vars(owner) else None
                changes.enter_context(deleted(own, seam.attribute))
        elif seam.attribute not in PUBLIC:
            changes.enter_context(renamed(seam.attribute, scope(seam)))
        yield


# What users call: versions may move these, but do not rename them.
PUBLIC = {"from_pretrained", "to"}


@contextlib.contextmanager
def deleted(owner: Any, name: str) -> Iterator[None]:
    value = vars(owner)[name]
    delattr(owner, name)
    try:
        yield
    finally:
        setattr(owner, name, value)


def scope(seam: Seam) -> Callable[[str], bool]:
    """Return where a symbol is renamed: only in the module that it was imported to, or wherever it is known."""
    value = getattr(owners_of(seam)[0], seam.attribute)
    if "." not in seam.name and getattr(value, "__module__", seam.module) != seam.module:
        return lambda module: module == seam.module
    others = {each.library for each in SEAMS if each.attribute == seam.attribute}
    return of(seam.library) if len(others) > 1 else of(*LIBRARIES)


# Much else is called so too, or torch's C++ looks for it by its name.
CANNOT_BE_RENAMED = {"__init__", "__call__", "normal_", "DeviceContext"}
CAN_BE_MISSING = [seam for seam in KNOWN if seam.attribute not in CANNOT_BE_RENAMED]


def can_lack(seam: Seam) -> bool:
    """Tell whether a symbol is code that can lack something; what passes on all arguments lacks none."""
    value = getattr(owners_of(seam)[0], seam.attribute)
    return callable(value) and bool(seam.mentions or seam_check._lacks(value, ["no_such_parameter"]))


CAN_LACK = [seam for seam in KNOWN if can_lack(seam)]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seam", CAN_BE_MISSING, ids=str)
def test_a_missing_seam_turns_off_what_needs_it(seam: Seam, saved: Saved, log: pytest.LogCaptureFixture) -> None:
    with taken_away(seam):
        assert not owners_of(seam)
        assert_loads_right(seam, saved, log, "" if seam.optional else "is missing")
    assert known(seam)


@pytest.mark.usefixtures("unchecked")
def test_what_torch_compile_leaves_around_the_constructor_of_modules_turns_off_nothing(
    saved: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo import mutation_guard

    for name in ("__init__", "__setstate__"):
        monkeypatch.setattr(torch.nn.Module, name, getattr(torch.nn.Module, name))
    monkeypatch.setattr(torch.nn.Module, "___needs_generation_tag_patch", True, raising=False)
    before = torch.nn.Module.__init__
    mutation_guard.install_generation_tagging_init()
    assert torch.nn.Module.__init__ is not before

    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))

    report = warpload.last_report()
    assert report is not None
    assert report.turned_off == {}
    assert warnings_of(log) == []


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seam", CAN_LACK, ids=str)
def test_a_seam_that_lacks_what_we_rely_on_turns_off_what_needs_it(
    seam: Seam, saved: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seam.mentions:
        changed = dataclasses.replace(seam, mentions=(*seam.mentions, "_no_such_word"))
        fault = "knows no _no_such_word"
    else:
        changed = dataclasses.replace(seam, parameters=(*seam.parameters, "no_such_parameter"))
        fault = "takes no no_such_parameter"
    monkeypatch.setattr(seam_check, "SEAMS", [changed if each is seam else each for each in SEAMS])

    assert_loads_right(changed, saved, log, fault)


@pytest.mark.usefixtures("unchecked")
def test_a_seam_whose_module_is_gone_is_missing_although_nobody_imports_it(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Seam("diffusers.loaders.no_such_module", "function", "adapters", "none")
    without_harm = dataclasses.replace(gone, optional=True)
    monkeypatch.setattr(seam_check, "SEAMS", [gone, without_harm])

    seam_check.check(diffusers)

    (warning,) = warnings_of(log)
    assert warning.startswith(f"{gone} is missing in diffusers {diffusers.__version__}: ")
    assert seam_check.turned_off().keys() == {"adapters"}


def test_with_the_pinned_versions_every_seam_is_there() -> None:
    """A seam that no version has would never be missed."""
    if not is_pinned():
        pytest.skip("other versions lack some")
    assert [str(seam) for seam in SEAMS if not known(seam)] == []


@pytest.mark.usefixtures("unchecked")
def test_models_that_generate_are_stocks_where_their_settings_cannot_be_read(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    models.causal_language_model().save_pretrained(tmp_path)
    models.clip_text_model().save_pretrained(tmp_path / "clip")
    with renamed("adjust_generation_fn", of("transformers")):
        stock = GPT2LMHeadModel.from_pretrained(tmp_path)

        with warpload.accelerated():
            ours = GPT2LMHeadModel.from_pretrained(tmp_path)
            reason = warpload.last_report().placed_by_stock["GPT2LMHeadModel"]
            CLIPTextModel.from_pretrained(tmp_path / "clip")

    assert_same_model(ours, stock)
    assert "adjust_generation_fn is missing in transformers" in reason
    assert warpload.last_report().placed_by_stock == {}
    assert len(warnings_of(log)) == 1


def test_bytes_that_began_early_are_released_where_stock_puts_pipelines_together(saved: Saved) -> None:
    """Before diffusers is imported nobody knows that a seam is missing."""
    said = run_python(EARLY, saved("wan")).stdout.splitlines()

    assert said == ["began with 3", "then had 0", "{}", "native native native"]


EARLY = """
import dataclasses, sys
import warpload
from warpload.models.joint_load import JointLoad
from warpload.stock import seam_check, seams

seam_check.SEAMS = [
    dataclasses.replace(seam, name="DiffusionPipeline.of_another_version")
    if seam.name == "DiffusionPipeline.from_pretrained" else seam
    for seam in seams.SEAMS
]
began, claimed, seen = JointLoad.begin, JointLoad.claim, []
def begin(self, wanted):
    assert "diffusers" not in sys.modules
    began(self, wanted)
    print("began with", len(self._weights))
def claim(self, *arguments):
    if not seen:
        seen.append(print("then had", len(self._weights)))
    return claimed(self, *arguments)
JointLoad.begin, JointLoad.claim = begin, claim

ours = warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
report = warpload.last_report()
assert "of_another_version is missing" in report.turned_off["pipelines"]
print(report.placed_by_stock)
print(*report.components.values())

import diffusers
from support import models
from support.compare import assert_same_model, assert_same_pipeline
assert_same_pipeline(ours, diffusers.DiffusionPipeline.from_pretrained(sys.argv[1]))
"""
