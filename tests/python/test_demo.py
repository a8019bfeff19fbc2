from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from warpload import measuring
from warpload.demo import architecture, verdict
from warpload.demo.synthetic import MARKER, read_marker, write_synthetic_pipeline
from warpload.demo.table import comparison_table
from warpload.measuring import page_cache, weights
from warpload.measuring.comparison import LOADERS, Comparison, judge
from warpload.measuring.digest import Digest, differences, pipeline_digest, read_every_page
from warpload.measuring.fresh_process import ContenderError
from warpload.measuring.memory_reserve import MemoryReserve
from warpload.measuring.runs import Conditions, Request, Run, Spread, run_contender

GIGABYTE = architecture.GIGABYTE
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "tiny"
    assert write_synthetic_pipeline(folder, scale=architecture.TINY)
    return folder


# Scales


@pytest.mark.parametrize("scale", [*architecture.SCALES, architecture.TINY], ids=lambda scale: scale.name)
def test_scales_state_their_number_of_parameters(scale: architecture.Scale) -> None:
    modules = architecture.build_on_meta(scale)
    count = sum(parameter.numel() for module in modules.values() for parameter in module.parameters())
    assert count == scale.parameters


def test_full_scale_has_the_published_unet() -> None:
    unet = architecture.build_on_meta(architecture.FULL)["unet"]
    assert sum(parameter.numel() for parameter in unet.parameters()) == 2_567_463_684


def test_scale_shrinks_with_the_machine() -> None:
    assert architecture.choose_scale(64 * GIGABYTE, 100 * GIGABYTE) is architecture.FULL
    assert architecture.choose_scale(12 * GIGABYTE, 100 * GIGABYTE) is architecture.MEDIUM
    assert architecture.choose_scale(64 * GIGABYTE, 4 * GIGABYTE) is architecture.SMALL
    with pytest.raises(OSError, match="needs"):
        architecture.choose_scale(1 * GIGABYTE, 100 * GIGABYTE)


def test_scale_counts_a_larger_result() -> None:
    assert architecture.choose_scale(17 * GIGABYTE, 100 * GIGABYTE) is architecture.FULL
    chosen = architecture.choose_scale(17 * GIGABYTE, 100 * GIGABYTE, result_element_size=4)
    assert chosen is architecture.MEDIUM


def test_reduced_scales_say_so() -> None:
    assert architecture.FULL.description() == "SDXL-shaped, full size"
    assert architecture.MEDIUM.description() == "SDXL-shaped, reduced to 2.2 B parameters"


# The synthetic pipeline


def test_stock_loads_the_pipeline(tiny: Path) -> None:
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny, torch_dtype=torch.float32)
    assert len(pipeline.tokenizer) == architecture.TINY.config("text_encoder")["vocab_size"]
    assert pipeline.tokenizer.pad_token == "<|endoftext|>"
    assert pipeline.tokenizer_2.pad_token == "!"
    image = pipeline("a word", num_inference_steps=1, height=64, width=64, output_type="np").images[0]
    assert image.shape == (64, 64, 3)


def test_stock_uses_every_tensor_of_the_files(tiny: Path) -> None:
    from safetensors import safe_open

    modules = architecture.build_on_meta(architecture.TINY)
    for component, module in modules.items():
        (path,) = (tiny / component).glob("*.safetensors")
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            assert file.metadata() == {"format": "pt"}
        expected = set(module.state_dict())
        if component == "text_encoder":
            names.remove("text_model.embeddings.position_ids")
            names = {name.removeprefix("text_model.") for name in names}
            expected = {name.removeprefix("text_model.") for name in expected}
        assert names == expected


def test_tensors_differ_from_each_other(tiny: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(tiny / "unet" / "diffusion_pytorch_model.safetensors")
    large = [tensor for tensor in tensors.values() if tensor.numel() >= 32]
    assert len({tensor.numpy().tobytes() for tensor in large}) == len(large)
    norm = tensors["conv_norm_out.weight"].float()
    assert abs(norm.mean().item() - 1.0) < 0.05


def test_complete_folder_is_reused(tiny: Path) -> None:
    before = (tiny / MARKER).stat().st_mtime_ns
    assert not write_synthetic_pipeline(tiny, scale=architecture.TINY)
    assert (tiny / MARKER).stat().st_mtime_ns == before


def test_same_seed_gives_the_same_bytes_and_another_does_not(tiny: Path, tmp_path: Path) -> None:
    name = Path("vae") / "diffusion_pytorch_model.safetensors"
    for seed in (0, 1):
        write_synthetic_pipeline(tmp_path / str(seed), scale=architecture.TINY, seed=seed)
    assert (tmp_path / "0" / name).read_bytes() == (tiny / name).read_bytes()
    assert (tmp_path / "1" / name).read_bytes() != (tiny / name).read_bytes()


def test_shards_hold_every_tensor_once(tiny: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    folder = tmp_path / "sharded"
    write_synthetic_pipeline(folder, scale=architecture.TINY, shards=3)
    index = json.loads((folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    found = {}
    for path in (folder / "unet").glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found.update(dict.fromkeys(file.keys(), path.name))
    assert found == index["weight_map"]
    assert len(set(found.values())) == 3
    with safe_open(tiny / "unet" / "diffusion_pytorch_model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(found)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_dtype_of_the_files(tmp_path: Path, dtype: str) -> None:
    write_synthetic_pipeline(tmp_path / "model", scale=architecture.TINY, dtype=dtype)
    assert weights.files_dtype(tmp_path / "model") == dtype


def test_other_parameters_replace_a_synthetic_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_synthetic_pipeline(folder, scale=architecture.TINY)
    assert write_synthetic_pipeline(folder, scale=architecture.TINY, seed=7)
    marker = read_marker(folder)
    assert marker is not None
    assert marker.seed == 7


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(FileExistsError, match="another folder"):
        write_synthetic_pipeline(tmp_path, scale=architecture.TINY)
    assert (tmp_path / "precious").read_text() == "data"


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(written: int, total: int) -> None:
        assert 0 < written <= total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_pipeline(tmp_path / "model", scale=architecture.TINY, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "shards"), [("int8", 1), ("float16", 0)])
def test_invalid_arguments_are_refused(tmp_path: Path, dtype: str, shards: int) -> None:
    with pytest.raises(ValueError, match="not"):
        write_synthetic_pipeline(tmp_path / "model", scale=architecture.TINY, dtype=dtype, shards=shards)


# Digests


def load_stock(folder: Path) -> object:
    import torch
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def stock_digest(tiny: Path) -> Digest:
    return pipeline_digest(load_stock(tiny))


def test_two_loads_have_equal_digests(tiny: Path, stock_digest: Digest) -> None:
    pipeline = load_stock(tiny)
    read_every_page(pipeline)
    assert differences(stock_digest, pipeline_digest(pipeline)) == []
    assert any(name.endswith("embeddings.position_ids") for name in stock_digest.tensors)
    assert stock_digest.classes["scheduler"].endswith("EulerDiscreteScheduler")


def test_one_changed_bit_is_noticed(tiny: Path, stock_digest: Digest) -> None:
    import torch

    pipeline = load_stock(tiny)
    weights = pipeline.vae.decoder.conv_out.weight.data  # type: ignore[attr-defined]
    weights.view(torch.int16).view(-1)[5] ^= 1
    (line,) = differences(stock_digest, pipeline_digest(pipeline))
    assert line.startswith("tensor vae.decoder.conv_out.weight: expected parameter torch.bfloat16 [3, 32, 3, 3]")


def test_a_swapped_pair_is_noticed(tiny: Path, stock_digest: Digest) -> None:
    pipeline = load_stock(tiny)
    attention = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1  # type: ignore[attr-defined]
    attention.to_q.weight.data, attention.to_k.weight.data = attention.to_k.weight.data, attention.to_q.weight.data
    lines = differences(stock_digest, pipeline_digest(pipeline))
    assert [line.split(":")[0].rpartition(".attn1.")[2] for line in lines] == ["to_q.weight", "to_k.weight"]


def test_missing_added_and_other_class_are_noticed(stock_digest: Digest) -> None:
    tensors = dict(stock_digest.tensors)
    del tensors["unet.conv_in.weight"]
    tensors["unet.invented"] = "buffer"
    actual = Digest({**stock_digest.classes, "vae": "other.Class"}, tensors)
    lines = differences(stock_digest, actual)
    assert lines[0].startswith("component vae: expected diffusers.")
    assert lines[1:] == ["tensor unet.conv_in.weight: missing", "tensor unet.invented: not expected"]


# Tables


def made_up_run(loader: str, mode: str, load: float, digest: Digest | None = None) -> Run:
    seconds = {"interpreter": 0.1, "torch": 0.9, "library": 2.0, "load": load, "first_read": 0.25, "total": load}
    if mode == "whole":
        seconds["total"] = load + 3.0
    return Run(loader, mode, "bfloat16", seconds, 4 * GIGABYTE, ("warm", "warm"), digest)


def made_up_comparison(own_tensors: dict[str, str]) -> Comparison:
    digests = {"stock": Digest({}, {"unet.a": "1", "unet.b": "2"}), "warpload": Digest({}, own_tensors)}
    runs = [made_up_run(loader, "whole", 6.0 if loader == "stock" else 3.0, digests[loader]) for loader in LOADERS]
    for stock, own in ((9.0, 2.0), (8.0, 2.5), (90.0, 1.5)):
        runs += [made_up_run("stock", "load", stock), made_up_run("warpload", "load", own)]
    return judge("bfloat16", runs)


def rendered(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(comparison_table(comparison, "bfloat16"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(text: str, title: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if title in line]
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_table_has_medians_and_ratios() -> None:
    text = rendered(made_up_comparison({"unet.a": "1", "unet.b": "2"}))
    assert cells(text, "load (from_pretrained)") == ["3", "9.00", "2.00", "4.50"]
    assert cells(text, "interpreter, import torch") == ["3", "1.00", "1.00", "1.00"]
    assert cells(text, "whole script") == ["1", "9.00", "6.00", "1.50"]
    assert "all 2 tensors equal" in text
    assert "page cache before the runs: warm" in text


def test_table_names_differences() -> None:
    comparison = made_up_comparison({"unet.a": "2", "unet.b": "1"})
    assert len(comparison.differences) == 2
    assert "tensor unet.a: expected 1, got 2" in rendered(comparison)


def test_judging_needs_digests_of_both() -> None:
    with pytest.raises(ValueError, match="warpload"):
        judge("bfloat16", [made_up_run("stock", "whole", 1.0, Digest({}, {}))])


def test_spread_is_of_the_values() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0, 4)


# The machine


def test_page_cache_is_warmed_and_pinned(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(os.urandom(1 << 20))
    (tmp_path / "empty.bin").touch()
    files = weights.weight_files(tmp_path)
    assert files == [tmp_path / "empty.bin", path]
    assert page_cache.warm(files).total_pages == 256
    with page_cache.PinnedFiles(files) as pins:
        if pins.pinned:
            assert page_cache.evict(files).is_warm
    state = page_cache.evict(files)
    assert 0 <= state.resident_pages <= state.total_pages


def test_cache_states_have_words() -> None:
    assert str(page_cache.CacheState(4, 4)) == "warm"
    assert str(page_cache.CacheState(0, 4)) == "cold"
    assert str(page_cache.CacheState(1, 4)) == "25.0% resident (1 pages)"


def test_memory_reserve_holds_and_ends() -> None:
    with MemoryReserve() as reserve:
        held = reserve.refill(100 << 20)
        assert held % (64 << 20) == 0
        assert held <= 128 << 20
    with pytest.raises(RuntimeError, match="ended"):
        reserve.refill(1)


def test_result_size_follows_the_dtype(tiny: Path) -> None:
    files = weights.weight_files(tiny)
    parameters = architecture.TINY.parameters
    position_ids = 77 * 8
    assert weights.result_bytes(files, 2) == parameters * 2 + position_ids
    assert weights.result_bytes(files, 4) == parameters * 4 + position_ids


# Where the measuring code is


def test_the_package_measures_with_the_benchmarks_own_code() -> None:
    installed, tree = (Path(folder) for folder in (measuring.__path__[0], BENCHMARKS / "measuring"))
    assert {path.name: path.read_bytes() for path in installed.glob("*.py")} == {
        path.name: path.read_bytes() for path in tree.glob("*.py")
    }


def test_the_measuring_code_brings_in_neither_the_demo_nor_anything_to_show() -> None:
    process = run_python(
        "import pkgutil, sys\n"
        "from importlib import import_module\n"
        "from warpload import measuring\n"
        "names = [module.name for module in pkgutil.iter_modules(measuring.__path__)]\n"
        "for name in names:\n    import_module(f'warpload.measuring.{name}')\n"
        "heavy = {'warpload.demo', 'rich', 'typer', 'torch', 'diffusers'} & sys.modules.keys()\n"
        "print(len(names) > 0, sorted(heavy))\n"
    )
    assert process.stdout.strip() == "True []", process.stderr


# Contenders and the command line


@pytest.mark.parametrize("mode", ["load", "whole"])
def test_stock_contender_reports_its_stages(tiny: Path, mode: str, stock_digest: Digest) -> None:
    with Conditions(tiny) as conditions:
        run = run_contender(Request("stock", "bfloat16", mode, digest=True), conditions)
    assert {"interpreter", "torch", "library", "load", "total", "first_read"} <= run.seconds.keys()
    assert all(seconds >= 0 for seconds in run.seconds.values())
    assert run.seconds["total"] >= run.seconds["load"]
    assert run.digest == stock_digest


def test_failing_contender_shows_its_messages(tmp_path: Path) -> None:
    with Conditions(tmp_path) as conditions, pytest.raises(ContenderError, match="Traceback"):
        run_contender(Request("stock", "bfloat16", "whole"), conditions)


def test_request_is_immutable() -> None:
    request = Request("stock", "bfloat16", "load")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.loader = "warpload"  # type: ignore[misc]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ("--model", "--dtype", "--runs", "--folder", "--keep")),
        ("bench", ("--against", "--scenario", "--dtype", "--runs", "--cache", "--json", "--plot", "--packages")),
    ],
)
def test_help_imports_no_torch(command: str, options: tuple[str, ...]) -> None:
    process = run_python(
        "import sys\n"
        "from warpload.cli import main\n"
        f"sys.argv = ['warpload', {command!r}, '--help']\n"
        "try:\n    main()\n"
        "finally:\n    print('HEAVY', sorted({'torch', 'diffusers', 'transformers', 'numpy'} & sys.modules.keys()))\n"
    )
    assert process.returncode == 0
    assert "HEAVY []" in process.stdout
    for option in options:
        assert option in process.stdout


def test_version_and_unknown_dtype() -> None:
    import warpload

    prefix = "import sys; from warpload.cli import main; sys.argv = ['warpload', "
    assert run_python(f"{prefix}'--version']; main()").stdout.strip() == f"warpload {warpload.__version__}"
    process = run_python(f"{prefix}'demo', '--dtype', 'int8']; main()")
    assert process.returncode == 2
    assert "int8" in process.stdout


# The verdict


def test_the_verdict_is_one_sentence_with_the_ratio_and_whether_all_is_identical() -> None:
    said = verdict.verdict([made_up_comparison({"unet.a": "1", "unet.b": "2"})])

    assert said == (
        "From its start to a ready pipeline a script was 1.5 times as fast as with stock in bfloat16 (6.00 s, stock"
        " 9.00 s); all 2 tensors are identical, bit for bit."
    )


def test_the_verdict_does_not_hide_a_difference_or_what_stock_loaded() -> None:
    comparison = made_up_comparison({"unet.a": "2", "unet.b": "2"})
    by_stock = {"unet": "native", "vae": "stock: no safetensors"}
    runs = tuple(dataclasses.replace(run, components=by_stock) for run in comparison.runs)

    said = verdict.verdict([dataclasses.replace(comparison, runs=runs)])

    assert "1 tensor or component DIFFERS" in said
    assert said.endswith("; stock loaded vae in both.")
    assert not verdict.as_dict(Path("model"), [comparison])["identical"]


def test_a_slower_load_is_called_slower() -> None:
    digest = Digest({}, {"unet.a": "1"})
    runs = [made_up_run("stock", "whole", 1.0, digest), made_up_run("warpload", "whole", 5.0, digest)]

    assert "2.0 times as slow as with stock" in verdict.verdict([judge("bfloat16", runs)])


def test_the_verdict_is_plain_data_with_every_median() -> None:
    told = json.loads(json.dumps(verdict.as_dict(Path("model"), [made_up_comparison({"unet.a": "1", "unet.b": "2"})])))

    (compared,) = told["comparisons"]
    assert (told["model"], told["identical"]) == ("model", True)
    assert compared["seconds"]["load (from_pretrained)"] == {"stock": 9.0, "warpload": 2.0}
    assert compared["seconds"]["whole script, start to ready"] == {"stock": 9.0, "warpload": 6.0}
    assert (compared["tensors"], compared["differences"], compared["loaded_by_stock"]) == (2, [], {})
