"""`warpload inspect` says what files hold as the safetensors and gguf packages read them, and who would load them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import safetensors
import torch
from click.testing import Result
from gguf import GGMLQuantizationType as Type
from typer.testing import CliRunner

import warpload
from support import checkpoints, commands, gguf_files, hub_cache, models, odd_indexes
from support.bad_files import BAD_FILES, entry
from support.checkpoints import framed
from support.pipelines import FAMILIES, MODELS, Saved
from support.processes import run_python
from support.sharded import Index, shard
from warpload.cli import application
from warpload.dtypes import torch_dtypes


def inspect(*arguments: object) -> Result:
    return commands.run("inspect", *arguments)


def found(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Return what `--json` writes; nothing else may be on the standard output."""
    return commands.told("inspect", *arguments, status=status)


def component(findings: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = (each for each in findings["components"] if each["name"] == name)
    return dict(one)


def lines(result: Result) -> list[str]:
    return str(result.stdout).splitlines()


def line_of(result: Result, name: str) -> str:
    """Return the line of the tree that a component begins with."""
    return next(line for line in lines(result) if line.lstrip("│├└─ ").startswith(f"{name}  "))


def read_by_safetensors(file: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return code, shape and bytes of each tensor, as the safetensors package reads a file."""
    return {
        name: (described["dtype"], tuple(described["shape"]), bytes(described["data"]))
        for name, described in safetensors.deserialize(file.read_bytes())
    }


# -- what lies there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipelines_components_are_told_as_its_index_and_the_safetensors_package_have_them(
    family: str, saved: Saved
) -> None:
    folder = saved(family)
    index = json.loads((folder / "model_index.json").read_text())

    findings = found(folder, "--tensors")

    assert (findings["kind"], findings["class"]) == ("pipeline", index["_class_name"])
    named = {name: value for name, value in index.items() if isinstance(value, list) and value[0] is not None}
    assert {each["name"]: [each["library"], each["class"]] for each in findings["components"]} == named
    total = 0
    for name in MODELS[family]:
        (file,) = component(findings, name)["files"]
        expected = read_by_safetensors(folder / file["path"])
        assert file["tensors"] == len(expected) == component(findings, name)["tensors"]
        assert file["bytes"] == sum(len(data) for *_, data in expected.values())
        assert {each["name"]: (each["dtype"], tuple(each["shape"])) for each in file["tensor_list"]} == {
            tensor: (code, shape) for tensor, (code, shape, _) in expected.items()
        }
        total += file["bytes"]
    assert findings["bytes"] == total
    assert findings["problems"] == []


def test_each_tensor_lies_where_it_is_said_to(mixed: Path) -> None:
    findings = found(mixed, "--tensors")

    content, expected = mixed.read_bytes(), read_by_safetensors(mixed)
    (file,) = findings["components"][0]["files"]
    assert file["file_bytes"] == len(content)
    assert file["data_offset"] == 8 + int.from_bytes(content[:8], "little")
    assert file["data_offset_modulo_64"] == file["data_offset"] % 64
    assert file["data_offset_modulo_4096"] == file["data_offset"] % 4096
    for each in file["tensor_list"]:
        assert content[each["offset"] : each["offset"] + each["bytes"]] == expected[each["name"]][2]
    assert {dtype: counted["tensors"] for dtype, counted in findings["dtypes"].items()} == {
        code: [code for code, *_ in expected.values()].count(code) for code, *_ in expected.values()
    }


@pytest.mark.parametrize("shift", range(8))
def test_tensors_that_do_not_lie_as_their_dtype_has_to_are_counted(shift: int, tmp_path: Path) -> None:
    tensors = {str(dtype): torch.zeros(3, dtype=dtype) for dtype in (torch.uint8, torch.float16, torch.float64)}
    file = tmp_path / "shifted.safetensors"
    checkpoints.save_raw(tensors, file, shift=shift)

    (told,) = found(file, "--tensors")["components"][0]["files"]

    aligned = {
        each["name"]: each["offset"] % torch_dtypes()[each["dtype"]].itemsize == 0 for each in told["tensor_list"]
    }
    assert {each["name"]: each["aligned"] for each in told["tensor_list"]} == aligned
    assert told["misaligned"]["tensors"] == list(aligned.values()).count(False)
    assert told["mappable"]["tensors"] == list(aligned.values()).count(True)
    assert ("misaligned" in inspect(file).stdout) == (not all(aligned.values()))


def test_the_core_aligns_a_dtype_as_its_elements_are_wide() -> None:
    from warpload import _core

    for code, dtype in torch_dtypes().items():
        width = max(1, _core.dtype_bits(code) // 8)
        assert _core.dtype_alignment(code) == (width // 2 if dtype.is_complex else width), code
    with pytest.raises(warpload.InvalidArgumentError):
        _core.dtype_alignment("F128")


def test_shards_are_counted_together_and_their_index_is_named(copied: Saved) -> None:
    folder = copied("ddpm")
    before = component(found(folder), "unet")
    index = shard(folder / "unet")

    after = component(found(folder), "unet")

    assert after["index"] == f"unet/{index.name}"
    assert [Path(file["path"]).name for file in after["files"]] == Index(index).shards
    assert (after["tensors"], after["bytes"]) == (before["tensors"], before["bytes"])
    assert after["loads"] == "native"
    (file,) = found(index)["components"]
    assert (file["tensors"], file["bytes"], len(file["files"])) == (before["tensors"], before["bytes"], 3)


@pytest.mark.parametrize("how", ["the file", "the component", "a folder around it"])
def test_parts_of_a_pipeline_can_be_named(how: str, copied: Saved, tmp_path: Path) -> None:
    folder = copied("stable-diffusion")
    expected = component(found(folder), "text_encoder")
    named = {
        "the file": checkpoints.weight_file(folder / "text_encoder"),
        "the component": folder / "text_encoder",
        "a folder around it": tmp_path,
    }[how]

    findings = found(named)

    told = [each for each in findings["components"] if "text_encoder" in each["name"] or how == "the file"]
    assert [each["bytes"] for each in told] == [expected["bytes"]]
    assert [each["loads"] for each in told] == ["native"]
    if how == "the component":
        assert told[0]["class"] == expected["class"]
        assert told[0]["dtype"] == expected["dtype"]


def test_a_models_class_is_what_its_configuration_says_where_no_pipeline_is_around(tmp_path: Path) -> None:
    models.unconditional_unet().save_pretrained(tmp_path / "unet")
    models.clip_text_model().save_pretrained(tmp_path / "clip")

    for name, library, cls in (("unet", "diffusers", "UNet2DModel"), ("clip", "transformers", "CLIPTextModel")):
        (one,) = found(tmp_path / name)["components"]
        assert (one["name"], one["library"], one["class"], one["loads"]) == (name, library, cls, "native")


# -- GGUF -------------------------------------------------------------------------------------------------------------


def test_a_gguf_file_is_told_as_the_gguf_package_reads_it(tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.assorted())
    reader = gguf.GGUFReader(file)

    (one,) = found(file, "--tensors")["components"]
    (told,) = one["files"]

    assert told["format"] == "GGUF"
    assert told["data_offset"] == reader.data_offset
    expected = {each.name: (int(each.n_bytes), int(each.data_offset)) for each in reader.tensors}
    assert {each["name"]: (each["bytes"], each["offset"]) for each in told["tensor_list"]} == expected
    kinds = {each.tensor_type for each in reader.tensors}
    for kind in kinds & set(gguf_files.DEQUANTISED):
        assert told["dtypes"][kind.name]["tensors"] == sum(each.tensor_type == kind for each in reader.tensors)
        assert kind.name in one["reason"]
    assert one["loads"] == "native"
    assert told["packed_only"] == []


def test_blocks_that_stay_bytes_are_named(tmp_path: Path) -> None:
    kind = Type.IQ2_XXS
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = torch.zeros(2, size, dtype=torch.uint8).numpy()
    file = gguf_files.write(tmp_path / "model.gguf", {"w": (blocks, kind)})
    with pytest.raises(warpload.WarploadError):
        warpload.load_file(file, dtype=torch.float32)

    (one,) = found(file)["components"]

    assert one["files"][0]["packed_only"] == [kind.name]
    assert f"{kind.name} as bytes only" in one["reason"]


# -- who would load it ------------------------------------------------------------------------------------------------


def foretold(folder: Path, *arguments: object, status: int = 0) -> dict[str, str]:
    """Return who is to load each component with weights, in the words of a report."""
    told = {}
    for each in found(folder, *arguments, status=status)["components"]:
        if each["loads"] == "stock":
            told[each["name"]] = f"stock: {each['reason']}"
        elif each["loads"] != "no weights":
            told[each["name"]] = "native" if each["loads"] in ("native", "read natively") else each["loads"]
    return told


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_foretold_is_what_the_loads_report_says(family: str, saved: Saved) -> None:
    told = foretold(saved(family))

    warpload.DiffusionPipeline.from_pretrained(saved(family))

    assert told == warpload.last_report().components


@pytest.mark.parametrize("family", FAMILIES)
def test_the_foretold_dtype_is_what_the_load_gives(family: str, saved: Saved) -> None:
    findings = found(saved(family))

    pipeline = warpload.DiffusionPipeline.from_pretrained(saved(family))

    for name in MODELS[family]:
        assert torch_dtypes()[component(findings, name)["dtype"]] == getattr(pipeline, name).dtype, name


def test_what_stock_will_load_is_foretold_in_the_words_of_the_report(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    checkpoints.as_pickles(folder, "unet", "text_encoder")
    told = foretold(folder)

    warpload.DiffusionPipeline.from_pretrained(folder)

    assert told == warpload.last_report().components
    assert "stock" in str(told)
    assert "warpload convert" in inspect(folder).stdout


ODD = {
    "wrong shards": odd_indexes.swap_two,
    "copies in all shards": odd_indexes.copies_in_all,
    "unknown fields": odd_indexes.unknown_fields,
    "a shard that the index does not list": odd_indexes.shard_not_listed,
    "a name that neither shards nor the model have": odd_indexes.never_there,
    "NaN in the metadata": odd_indexes.not_a_number,
    "nesting deeper than the core's": odd_indexes.nested_deeply,
    "pickles as shards": odd_indexes.pickled,
}


# What transformers makes of tensors that are then missing is for the class to say, which is not imported.
@pytest.mark.parametrize(
    ("case", "name"),
    [(case, "unet") for case in ODD]
    + [(case, "text_encoder") for case in ODD if case != "a shard that the index does not list"],
)
def test_who_loads_what_is_odd_is_foretold(case: str, name: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    named = ODD[case](Index(shard(folder / name)))

    told = component(found(folder), name)

    warpload.DiffusionPipeline.from_pretrained(folder)
    report = warpload.last_report()
    who = "stock" if report.components[name] != "native" else "read natively" if report.placed_by_stock else "native"
    assert told["loads"] == who
    for part in named:
        assert part in f"{told['reason']} {told['oddities']}"


def test_what_is_saved_quantised_is_said_to_be_made_by_the_librarys_quantiser(copied: Saved) -> None:
    folder = copied("ddpm")
    config = json.loads((folder / "unet" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "unet" / "config.json").write_text(json.dumps(config))

    told = component(found(folder), "unet")

    assert told["loads"] == "read natively"
    assert "quantised by bitsandbytes" in told["reason"]
    assert "read natively, placed by stock: quantised by bitsandbytes" in line_of(inspect(folder), "unet")


def test_a_variant_is_taken_where_it_is_asked_for_and_named_where_it_is_all_there_is(copied: Saved) -> None:
    folder = copied("ddpm")
    plain = checkpoints.weight_file(folder / "unet")
    plain.rename(folder / "unet" / checkpoints.DIFFUSERS_FILE.replace(".safe", ".fp16.safe"))

    without = component(found(folder, status=1), "unet")
    told = component(found(folder, "--variant", "fp16"), "unet")

    assert without["loads"] == "fails"
    assert "variant='fp16'" in without["reason"]
    assert told["loads"] == "native"
    assert [file["path"] for file in told["files"]] == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    with pytest.raises(OSError, match="diffusion_pytorch_model"):
        warpload.DiffusionPipeline.from_pretrained(folder)


def test_files_that_a_load_leaves_alone_are_named(copied: Saved) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(file.read_bytes())
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickled")

    told = component(found(folder), "unet")

    assert told["others"] == ["unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors"]
    assert [each["path"] for each in told["files"]] == [f"unet/{file.name}"]


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt", ".pth"])
def test_a_pickle_is_stocks_and_is_not_opened(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"no pickle at all")

    (one,) = found(file)["components"]

    assert one["loads"] == "stock"
    assert "warpload convert" in one["reason"]
    assert one["files"][0]["format"] == "pickle"


def test_a_tensor_that_torch_cannot_hold_is_named(tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    file.write_bytes(framed(json.dumps({"a": entry("F6_E2M3", [4], 0, 3)}).encode()) + bytes(3))

    assert "torch has no F6_E2M3" in found(file)["components"][0]["reason"]


# -- the Hub's cache --------------------------------------------------------------------------------------------------


def inspect_cached(cache: Path, *arguments: str) -> Any:
    settings = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    return run_python(
        f"import os, sys; os.environ.update({settings!r}); sys.argv = ['warpload', 'inspect', *sys.argv[1:]]\n"
        "from warpload.cli import main; main()",
        *arguments,
        check=False,
    )


@pytest.mark.parametrize("whole", [True, False])
def test_an_id_is_looked_up_in_the_cache_and_nowhere_else(whole: bool, saved: Saved, tmp_path: Path) -> None:
    snapshot = hub_cache.write_cache(saved("ddpm"), tmp_path)
    if not whole:
        hub_cache.break_file(checkpoints.weight_file(snapshot / "unet"), "unfinished")

    process = inspect_cached(tmp_path, hub_cache.REPOSITORY, "--json")

    findings = json.loads(process.stdout)
    told = {"id": hub_cache.REPOSITORY, "commit": hub_cache.COMMIT, "complete": whole}
    assert findings["repository"] == told
    assert (component(findings, "unet")["loads"] == "native") == whole
    if not whole:
        assert component(findings, "unet")["reason"] == "not in the cache yet"


def test_an_id_that_the_cache_lacks_is_told_of_with_the_nearest_and_the_cure(saved: Saved, tmp_path: Path) -> None:
    hub_cache.write_cache(saved("ddpm"), tmp_path)
    cures = {
        "nobody/nothing": "`hf download nobody/nothing`",
        f"{hub_cache.REPOSITORY}y": f"did you mean {hub_cache.REPOSITORY}?",
    }
    for named, cure in cures.items():
        process = inspect_cached(tmp_path, named)

        assert process.returncode == 2
        assert process.stdout == ""
        assert process.stderr.startswith(f"error: {named}: there is no such file or folder, and the Hub's cache has no")
        assert cure in process.stderr
        assert len(process.stderr.splitlines()) == 1


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", sorted(BAD_FILES))
def test_a_broken_file_is_told_of_in_the_words_of_the_core(case: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(BAD_FILES[case].content)
    try:
        expected = f"error: bad.safetensors: {warpload.load_file(file)}"
    except warpload.WarploadError as error:
        expected = f"error: bad.safetensors: {error}"
        opened = str(error.reason)
    if BAD_FILES[case].only_torch_refuses and inspect(file).exit_code == 0:
        return  # a header that is right, of what only torch cannot hold

    result = inspect(file)

    assert result.exit_code == 1, opened
    assert result.stderr.strip() == expected
    assert found(file, status=1)["problems"] == [expected.removeprefix("error: ")]


def test_one_broken_shard_does_not_hide_the_others(copied: Saved) -> None:
    folder = copied("ddpm")
    index = Index(shard(folder / "unet"))
    broken = index.file.with_name(index.shards[1])
    broken.write_bytes(broken.read_bytes()[:-1])
    index.file.with_name(index.shards[2]).unlink()

    told = component(found(folder, status=1), "unet")

    assert told["loads"] == "fails"
    assert [bool(each["problem"]) for each in told["files"]] == [False, True, True]
    assert told["files"][0]["tensors"] > 0


def empty(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def without_weights(tmp_path: Path) -> str:
    (tmp_path / "notes.txt").touch()
    return str(tmp_path)


def dangling(tmp_path: Path) -> str:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    return str(tmp_path / "link")


def fifo(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def mistyped(tmp_path: Path) -> str:
    (tmp_path / "pipeline").mkdir()
    return str(tmp_path / "pipelnie")


def configuration(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path / "config.json")


def no_index(tmp_path: Path) -> str:
    (tmp_path / "some.json").write_text("{}")
    return str(tmp_path / "some.json")


def broken_index(tmp_path: Path) -> str:
    (tmp_path / "model_index.json").write_text("{")
    return str(tmp_path)


NOTHING: dict[Callable[[Path], str], str] = {
    empty: "is empty",
    without_weights: "holds no weights",
    dangling: "nowhere, which is not there",
    fifo: "neither a file nor a folder",
    mistyped: "did you mean",
    configuration: "name its folder",
    no_index: "no index of shards",
    broken_index: "not valid JSON",
    lambda _: "/no/such/place": "there is no /no/such either",
    lambda _: "a\0b": "no such file",
    lambda _: "x" * 5000: "no such file",
    lambda _: "~nobody-has-this-name": "home directory",
    lambda _: "": "names no file",
}


@pytest.mark.parametrize("made", NOTHING, ids=lambda made: made.__name__)
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_cannot_be_meant_is_refused_in_one_line_with_the_cure(
    command: str, made: Callable[[Path], str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(application, [command, made(tmp_path)])

    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert NOTHING[made] in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_pipeline_that_lacks_a_component_or_names_an_unknown_class_fails(copied: Saved) -> None:
    folder = copied("ddpm")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "NoSuchPipeline", "other": ["diffusers", "NoSuchModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))

    findings = found(folder, status=1)

    assert any("has no NoSuchPipeline" in problem for problem in findings["problems"])
    assert component(findings, "other")["loads"] == "fails"
    assert component(findings, "unet")["loads"] == "native"


FIELDS = {
    "": "schema source path kind class repository tensors bytes dtypes files components problems",
    "component": "name library class loads reason dtype tensors bytes dtypes index files others oddities",
    "file": "path format file_bytes tensors bytes dtypes data_offset data_offset_modulo_64 data_offset_modulo_4096 "
    "mappable misaligned packed_only metadata problem",
    "tensor": "name dtype shape bytes offset aligned",
}


def test_the_json_has_the_same_fields_whatever_is_looked_at(saved: Saved, mixed: Path, tmp_path: Path) -> None:
    pickled, broken = tmp_path / "weights.bin", tmp_path / "bad.safetensors"
    pickled.touch()
    broken.touch()
    for named, status in ((saved("ddpm"), 0), (mixed, 0), (pickled, 0), (broken, 1)):
        findings = found(named, "--tensors", status=status)

        assert findings["schema"] == 1
        assert list(findings) == FIELDS[""].split()
        for each in findings["components"]:
            assert list(each) == FIELDS["component"].split()
            for file in each["files"]:
                assert list(file) == [*FIELDS["file"].split(), "tensor_list"]
                for tensor in file["tensor_list"]:
                    assert list(tensor) == FIELDS["tensor"].split()
    assert "tensor_list" not in found(mixed)["components"][0]["files"][0]


# -- how it is shown --------------------------------------------------------------------------------------------------


def test_what_is_piped_has_no_colour_and_whole_lines(saved: Saved) -> None:
    folder = saved("stable-diffusion")
    code = "import sys; sys.argv = ['warpload', 'inspect', *sys.argv[1:]]\nfrom warpload.cli import main; main()"

    told = run_python(code, folder)

    assert "\x1b" not in told.stdout
    assert "…" not in told.stdout
    file = checkpoints.weight_file(folder / "unet")
    (line,) = (line for line in told.stdout.splitlines() if file.name in line and "unet/" in line)
    offset = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    assert line.endswith(f"(modulo 64: {offset % 64}, modulo 4096: {offset % 4096}); all can be mapped")
    assert all(line == line.rstrip() for line in told.stdout.splitlines())
    assert told.stderr == ""


def test_the_tree_has_what_the_json_has(saved: Saved) -> None:
    folder = saved("stable-diffusion-xl")
    findings = found(folder, "--tensors")

    result = inspect(folder, "--tensors")

    assert f"{findings['class']}  {findings['tensors']:,} tensors" in lines(result)[0]
    for each in findings["components"]:
        assert f"{each['library']}.{each['class']}  {each['loads']}" in line_of(result, each["name"])
        for file in each["files"]:
            assert f"data at byte {file['data_offset']:,}" in line_of(result, file["path"])
            for tensor in file["tensor_list"]:
                assert any(f"{tensor['name']}  {tensor['dtype']} {tensor['shape']}" in line for line in lines(result))


def test_names_from_a_file_steer_no_terminal(tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    name = "red \x1b[31m\n\r\x07 [bold]name"
    file.write_bytes(framed(json.dumps({name: entry("U8", [1], 0, 1)}).encode()) + b"x")

    result = inspect(file, "--tensors")

    assert result.exit_code == 0
    assert not {"\x1b", "\r", "\x07"} & set(result.stdout)
    assert r"red \x1b[31m\n\r\x07 [bold]name  U8 [1]" in result.stdout
    assert found(file, "--tensors")["components"][0]["files"][0]["tensor_list"][0]["name"] == name


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_name_can_be_written_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff \xe2\x98\xba.safetensors")
    file.write_bytes(framed(json.dumps({"größe ☺": entry("U8", [1], 0, 1)}, ensure_ascii=False).encode()) + b"x")
    code = (
        f"import os, sys; sys.argv = ['warpload', 'inspect', {str(file)!r}, '--tensors']\n"
        f"sys.stdout.reconfigure(encoding={encoding!r}, errors='strict')\n"
        "from warpload.cli import main; main()"
    )

    assert "U8 [1]" in run_python(code).stdout


def test_neither_torch_nor_the_libraries_are_imported(saved: Saved) -> None:
    code = (
        "import sys\nfrom warpload.inspecting.inspection import InspectOptions, run_inspect\n"
        "status = run_inspect(InspectOptions(sys.argv[1], json=True))\n"
        "print({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules), status, file=sys.stderr)"
    )

    assert run_python(code, saved("flux")).stderr.strip() == "set() 0"


def test_an_interrupt_ends_it_with_its_own_status(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("warpload.inspecting.inspection.gather", interrupt)

    result = inspect(saved("ddpm"))

    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_help_has_examples_and_says_what_the_exit_status_means(command: str) -> None:
    told = " ".join(CliRunner().invoke(application, [command, "--help"]).output.split())

    assert "For example" in told
    assert f"warpload {command} my/pipeline" in told
    assert "The exit status is 1 when" in told
    assert "--json" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_commands(shell: str) -> None:
    settings = {
        "_WARPLOAD_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "warpload ",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "warpload ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code = (
        f"import os; os.environ.update({settings!r})\n"
        "import sys; sys.argv = ['warpload']\nfrom warpload.cli import main; main()"
    )

    told = run_python(code, check=False).stdout

    for command in ("demo", "bench", "inspect", "verify", "convert", "prefix"):
        assert command in told
