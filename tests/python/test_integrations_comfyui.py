"""The custom node for ComfyUI: its loader gives what it gives without, from files that the core has read.

``COMFYUI`` names a checkout of ComfyUI, with whose own ``comfy.utils`` the same is tested then.
"""

from __future__ import annotations

import ast
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import warpload
from support import comfy_double
from support import integration_pages as pages
from support.compare import assert_same_tensors
from support.devices import Device
from support.processes import environment, mapped_files

STYLES = ["safe_open", "load_file"]


@pytest.fixture(params=STYLES)
def utils(request: pytest.FixtureRequest) -> Any:
    return comfy_double.comfy_utils(request.param)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return which files the safetensors package reads, as it does."""
    found: list[str] = []

    def noted(reads: Callable[..., Any]) -> Callable[..., Any]:
        return lambda name, *given, **named: (found.append(str(name)), reads(name, *given, **named))[1]

    monkeypatch.setattr("safetensors.safe_open", noted(safetensors.safe_open))
    monkeypatch.setattr("safetensors.torch.load_file", noted(safetensors.torch.load_file))
    return found


@pytest.fixture(params=[".safetensors", ".sft", ".SafeTensors"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = tmp_path / f"model{request.param}"
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16), "c": torch.tensor(7)}
    safetensors.torch.save_file(tensors, name, metadata={"format": "pt", "modelspec": "x"})
    return str(name)


def test_the_same_tensors_come_in_the_same_order_and_none_by_the_package(
    file: str, utils: Any, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = utils.load_torch_file(file)
    held_by_name = utils.load_torch_file  # as by `from comfy.utils import load_torch_file`
    assert opened == [file]

    comfy_double.load_node(monkeypatch, utils)
    found = held_by_name(file)

    assert opened == [file]
    assert_same_tensors(found, expected)
    assert list(found) == list(expected)
    report = warpload.last_report()
    assert report is not None
    assert report.components == {Path(file).name: "native"}


def test_metadata_and_all_arguments_are_as_without(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = comfy_double.comfy_utils()
    expected = utils.load_torch_file(file, safe_load=True, device=torch.device("cpu"), return_metadata=True)

    comfy_double.load_node(monkeypatch, utils)
    found = utils.load_torch_file(file, safe_load=True, device=torch.device("cpu"), return_metadata=True)

    assert found[1] == expected[1] == {"format": "pt", "modelspec": "x"}
    assert list(found[0]) == list(expected[0])
    assert_same_tensors(found[0], expected[0])


def test_every_tensor_has_a_storage_that_comfyui_may_mark(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = comfy_double.comfy_utils()
    comfy_double.load_node(monkeypatch, utils)

    found = utils.load_torch_file(file)

    assert {tensor.untyped_storage()._comfy_source_path for tensor in found.values()} == {file}


def test_files_that_may_not_be_mapped_are_copied(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = comfy_double.comfy_utils(disable_mmap=True)
    expected = utils.load_torch_file(file)
    comfy_double.load_node(monkeypatch, utils)

    found = utils.load_torch_file(file)
    Path(file).unlink()

    assert_same_tensors(found, expected)
    assert file not in mapped_files()


def test_what_is_written_to_a_tensor_is_not_written_to_the_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path(file).read_bytes()
    utils = comfy_double.comfy_utils()
    comfy_double.load_node(monkeypatch, utils)

    utils.load_torch_file(file)["b"].fill_(5)

    assert Path(file).read_bytes() == before


@pytest.mark.slots
def test_a_device_gets_all_tensors_of_the_file(file: str, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = comfy_double.comfy_utils()
    expected = utils.load_torch_file(file)
    comfy_double.load_node(monkeypatch, utils)

    found = utils.load_torch_file(file, device=torch.device(device.name))

    assert_same_tensors({name: tensor.cpu() for name, tensor in found.items()}, expected)


BAD = {
    "a header larger than the file": struct.pack("<Q", 50) + b"{}",
    "a header larger than any": struct.pack("<Q", 2**60) + b"{}",
    "a file of nothing": b"",
    "no JSON": struct.pack("<Q", 3) + b"{x}",
    "a tensor beyond the end": (lambda header: struct.pack("<Q", len(header)) + header + b"12")(
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_an_error_in_comfyuis_own_words(
    what: str, utils: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(BAD[what])
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever it is, ours is the same
        utils.load_torch_file(str(file))

    comfy_double.load_node(monkeypatch, utils)
    with pytest.raises(type(expected.value)) as found:
        utils.load_torch_file(str(file))

    assert type(found.value) is type(expected.value)
    assert str(found.value) == str(expected.value)
    assert "is read by the safetensors package" in log.text


def test_a_file_that_is_missing_is_the_same_error(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError) as expected:
        utils.load_torch_file("/nowhere.safetensors")
    comfy_double.load_node(monkeypatch, utils)

    with pytest.raises(FileNotFoundError) as found:
        utils.load_torch_file("/nowhere.safetensors")

    assert found.value.args == expected.value.args


def test_a_file_that_changes_after_it_was_opened_is_read_by_the_package(
    file: str, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = comfy_double.comfy_utils()
    expected = utils.load_torch_file(file)
    comfy_double.load_node(monkeypatch, utils)

    def refuse(*_: object, **__: object) -> None:
        raise warpload.IoError(5, "the file changed while it was read", file)

    monkeypatch.setattr(warpload, "load_file", refuse)
    assert_same_tensors(utils.load_torch_file(file), expected)
    assert opened == [file, file]


def test_a_lack_of_memory_is_raised_as_it_is(file: str, utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    comfy_double.load_node(monkeypatch, utils)

    def refuse(*_: object, **__: object) -> None:
        raise warpload.OutOfMemoryError("no room")

    monkeypatch.setattr(warpload, "load_file", refuse)
    with pytest.raises(warpload.OutOfMemoryError, match="no room"):
        utils.load_torch_file(file)


def test_pickles_are_none_of_the_nodes_business(tmp_path: Path, utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.ckpt")
    comfy_double.load_node(monkeypatch, utils)

    assert torch.equal(utils.load_torch_file(str(tmp_path / "model.ckpt"))["a"], torch.ones(2))


def test_every_other_name_of_the_package_stays_its_own(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    comfy_double.load_node(monkeypatch, utils)

    assert utils.safetensors.torch.save_file is safetensors.torch.save_file
    assert utils.safetensors.SafetensorError is safetensors.SafetensorError
    assert utils.safetensors.__version__ == safetensors.__version__
    assert safetensors.safe_open is sys.modules["safetensors"].safe_open  # nobody else's is replaced
    assert type(sys.modules["safetensors"]) is type(sys)


@pytest.mark.parametrize("text", ["0", "off", "No"])
def test_the_environment_turns_it_off(text: str, utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARPLOAD_COMFYUI", text)

    node = comfy_double.load_node(monkeypatch, utils)

    assert utils.safetensors is safetensors
    assert node.NODE_CLASS_MAPPINGS == {}


def test_a_second_import_changes_nothing_and_end_undoes_it(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = comfy_double.load_node(monkeypatch, utils)
    first = utils.safetensors

    assert node.reading.begin(utils)
    assert utils.safetensors is first
    node.reading.end(utils)
    assert utils.safetensors is safetensors
    node.reading.end(utils)
    assert utils.safetensors is safetensors


def test_another_comfyui_is_left_alone_and_said_so(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, file: str
) -> None:
    utils = comfy_double.comfy_utils("other")
    before = dict(vars(utils))

    comfy_double.load_node(monkeypatch, utils)

    assert vars(utils) == before
    assert "reads as ever" in log.text
    assert set(utils.load_torch_file(file)) == {"a", "b", "c"}


@pytest.mark.parametrize("missing", ["warpload", "comfy"])
def test_what_is_missing_is_said_in_a_line_and_no_error(
    missing: str, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    utils = comfy_double.comfy_utils()
    if missing == "warpload":
        monkeypatch.setitem(sys.modules, "warpload", None)

    node = comfy_double.load_node(monkeypatch, None if missing == "comfy" else utils)

    assert node.NODE_CLASS_MAPPINGS == {}
    assert utils.safetensors is safetensors
    assert log.text.count("pip install warpload") == 1


def test_the_node_hands_the_model_on_and_tells_of_the_load(
    file: str, utils: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = comfy_double.load_node(monkeypatch, utils)
    (shown,) = node.NODE_CLASS_MAPPINGS.values()
    assert node.NODE_DISPLAY_NAME_MAPPINGS.keys() == node.NODE_CLASS_MAPPINGS.keys()
    utils.load_torch_file(file)
    model = object()

    told = getattr(shown(), shown.FUNCTION)(model=model)

    assert shown.INPUT_TYPES() == {"required": {"model": ("MODEL",)}}
    assert len(told["result"]) == len(shown.RETURN_TYPES) == len(shown.RETURN_NAMES)
    assert told["result"][0] is model
    assert Path(file).name in told["result"][1]
    assert told["ui"]["text"] == [told["result"][1]]
    assert shown.IS_CHANGED(model=model) != shown.IS_CHANGED(model=model)


def test_the_pages_script_reads_through_the_core_until_it_ends_it(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = comfy_double.comfy_utils()
    comfy_double.stand_in(monkeypatch, utils)
    monkeypatch.chdir(tmp_path)
    for part in ("", ".nodes", ".reading"):
        monkeypatch.delitem(sys.modules, f"warpload_loader{part}", raising=False)

    names = pages.run("comfyui", "from warpload_loader", {"model.safetensors": Path(file).name})

    report = warpload.last_report()
    assert report is not None
    assert report.source == Path(file).name
    assert (set(names["tensors"]), names["metadata"]["modelspec"]) == ({"a", "b", "c"}, "x")
    assert utils.safetensors is safetensors


def test_the_package_says_what_the_registry_of_comfyui_asks_for() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
    found = tomllib.loads((comfy_double.NODE / "pyproject.toml").read_text(encoding="utf-8"))

    assert {"name", "version", "description", "license", "dependencies"} <= found["project"].keys()
    assert {"PublisherId", "DisplayName"} <= found["tool"]["comfy"].keys()
    required = (comfy_double.NODE / "requirements.txt").read_text(encoding="utf-8").split()
    assert required == found["project"]["dependencies"] == ["warpload"]


def test_the_node_imports_nothing_but_warpload_and_comfyui() -> None:
    found = set()
    for module in comfy_double.NODE.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])

    assert found - sys.stdlib_module_names == {"comfy", "warpload"}


@pytest.mark.comfyui
def test_with_comfyuis_own_code(tmp_path: Path) -> None:
    """Run by whoever has a checkout; in a process of its own, as it parses the command line."""
    code = """
import inspect, sys, pathlib
sys.path[:0] = [sys.argv[1]]
folder, node = pathlib.Path(sys.argv[2]), sys.argv[3]
del sys.argv[1:]
import torch, safetensors.torch
import comfy.options
import comfy.utils
tensors = {"b": torch.randn(64, 64), "a": torch.ones(3, dtype=torch.bfloat16)}
file = str(folder / "model.safetensors")
safetensors.torch.save_file(tensors, file, metadata={"k": "v"})
bad = folder / "bad.safetensors"
bad.write_bytes(b"\\xff" * 64)
short = folder / "short.sft"
short.write_bytes((60).to_bytes(8, "little") + b"{}")
def look():
    said = []
    for each in (bad, short):
        try:
            comfy.utils.load_torch_file(str(each))
        except Exception as error:
            said.append((type(error).__name__, str(error)))
    if "return_metadata" not in inspect.signature(comfy.utils.load_torch_file).parameters:  # before 2025
        return (comfy.utils.load_torch_file(file, safe_load=True), {"k": "v"}), said
    return comfy.utils.load_torch_file(file, safe_load=True, return_metadata=True), said
(stock, metadata), errors = look()
import importlib.util
spec = importlib.util.spec_from_file_location("node", node + "/__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules["node"] = module
spec.loader.exec_module(module)
assert module.NODE_CLASS_MAPPINGS
(ours, mine), own = look()
assert list(ours) == list(stock) and all(torch.equal(ours[name], stock[name]) for name in stock)
assert mine == metadata == {"k": "v"} and own == errors and len(errors) == 2, (own, errors)
import warpload
assert warpload.last_report().components == {"model.safetensors": "native"}
print("as without")
"""
    arguments = [os.environ["COMFYUI"], str(tmp_path), str(comfy_double.NODE)]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=False
    )
    assert "as without" in result.stdout, result.stdout + result.stderr
