"""An installed wheel, as its users have it: no compiler, no checkout. `make test-wheel` and cibuildwheel run this."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import diffusers
import pytest
import safetensors.torch
import torch

import warpload

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.uint8, torch.bool]


def same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(
        one.contiguous().reshape(-1).view(torch.uint8), other.contiguous().reshape(-1).view(torch.uint8)
    )


def command(*arguments: str) -> str:
    """Return what a program of this environment prints."""
    program = Path(sys.executable).parent / "warpload"
    result = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = {str(dtype): torch.rand((33, 65), generator=generator).mul(4).to(dtype) for dtype in DTYPES}
    return {**drawn, "empty": torch.empty((0, 3)), "scalar": torch.tensor(2.5)}


@pytest.fixture
def file(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(tensors, path)
    return path


def test_it_is_the_installed_package_that_is_tested() -> None:
    assert warpload.__file__ is not None
    assert Path(warpload.__file__).is_relative_to(sys.prefix)


def test_the_command_tells_the_version_of_the_metadata() -> None:
    assert command("--version") == f"warpload {metadata.version('warpload')}\n"


def test_a_file_is_loaded_as_safetensors_loads_it(file: Path) -> None:
    expected = safetensors.torch.load_file(file)

    loaded = warpload.load_file(file)

    assert list(loaded) == list(expected)
    assert [name for name in expected if not same_bytes(loaded[name], expected[name])] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_file_is_cast_as_torch_casts(file: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    expected = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    loaded = warpload.load_file(file, dtype=dtype)

    assert [name for name in expected if not same_bytes(loaded[name], expected[name])] == []


def test_a_pipeline_is_what_stock_loads(tmp_path: Path) -> None:
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(tmp_path)

    stock = diffusers.DDPMPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    ours = warpload.DiffusionPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)

    assert type(ours) is type(stock)
    expected, loaded = stock.unet.state_dict(), ours.unet.state_dict()
    assert list(loaded) == list(expected)
    assert [name for name in expected if not same_bytes(loaded[name], expected[name])] == []
    report = warpload.last_report()
    assert report is not None
    assert report.components["unet"] == "native"


def test_the_prefix_has_what_c_and_cpp_programs_build_with() -> None:
    folder = Path(command("prefix").removesuffix("\n"))

    assert folder.is_relative_to(sys.prefix)
    for name in (
        "include/warpload/warpload.hpp",
        "include/warpload/warpload.h",
        "include/warpload/version.h",
        "lib/libwarpload.a",
        "lib/libwarpload.so",
        "lib/cmake/warpload/warploadConfig.cmake",
        "lib/pkgconfig/warpload.pc",
    ):
        assert (folder / name).is_file(), name


def test_the_licence_is_in_the_package() -> None:
    files = metadata.files("warpload")
    assert files is not None
    (licence,) = [path for path in files if path.name == "LICENSE"]
    assert "Apache License" in licence.read_text(encoding="utf-8")


def test_a_type_checker_finds_the_types(tmp_path: Path) -> None:
    """A wrong call is an error only where the package's own annotations are read, as py.typed allows."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import warpload

            version: str = warpload.__version__
            tensors = warpload.load_file("model.safetensors", device="cpu")
            options = warpload.LoadOptions(threads=2)
            wrong = warpload.LoadOptions(threads="two")  # type: ignore[arg-type]
            """
        ),
        encoding="utf-8",
    )
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        # Their types are not what is asked for, and to read all of torch takes most of a minute.
        "[mypy]\nstrict = True\n[mypy-torch.*,diffusers.*,transformers.*]\nfollow_imports = skip\n",
        encoding="utf-8",
    )
    arguments = ["--config-file", str(settings), "--cache-dir", str(tmp_path / "cache"), str(program)]

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
