"""What only a GPU shows: its memory's peak, the order of its streams, and the images that come out."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch

import warpload
from support.compare import assert_same_pipeline, assert_same_tensors, bytes_of
from support.devices import Device, models_of, tensors_of
from support.pipelines import Saved
from support.processes import run_python
from warpload.demo.architecture import FULL
from warpload.demo.synthetic import write_synthetic_pipeline

pytestmark = pytest.mark.gpu

MIB = 2**20
LATER = 1_000_000_000  # cycles that a stream is kept busy: about half a second


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a pipeline of Stable Diffusion XL's real size, in float16."""
    folder = tmp_path_factory.mktemp("full-size") / "sdxl"
    write_synthetic_pipeline(folder, scale=FULL, dtype="float16")
    return folder


@pytest.fixture(autouse=True)
def _clean_gpu(gpu: Device) -> Iterator[None]:
    """Start and end with an empty cache, and fail a test after which the GPU does not work.

    The allocator itself is not empty: torch keeps workspaces of libraries for good once they were needed.
    """
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.synchronize()
    assert torch.ones(3, device=gpu.name).sum().item() == 3
    gc.collect()
    torch.cuda.empty_cache()


def weights_of(pipeline: Any) -> int:
    """Return the bytes of a pipeline's tensors, those that are shared once."""
    storages = {tensor.data_ptr(): tensor.nbytes for tensor in tensors_of(*models_of(pipeline).values())}
    return sum(storages.values())


def assert_peak_is_the_weights(before: int, pipeline: Any) -> None:
    peak = torch.cuda.max_memory_allocated() - before
    assert peak <= weights_of(pipeline) * 1.01 + 64 * MIB
    assert peak >= weights_of(pipeline)


# -- full size --------------------------------------------------------------------------------------------------------


@pytest.mark.full_size
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, None], ids=str)
def test_a_pipeline_of_full_size_equals_stock(dtype: torch.dtype | None, full_size: Path) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=dtype)

    ours = warpload.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=dtype)

    assert_same_pipeline(ours, stock)


@pytest.mark.full_size
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_the_peak_of_a_load_is_the_weights(dtype: torch.dtype, full_size: Path) -> None:
    before = torch.cuda.memory_allocated()

    pipeline = warpload.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=dtype)

    assert_peak_is_the_weights(before, pipeline)


@pytest.mark.full_size
def test_a_pipeline_made_from_another_takes_no_memory(full_size: Path) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=torch.float16)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()

    other = warpload.StableDiffusionXLImg2ImgPipeline.from_pipe(pipeline, dtype=torch.float16)

    assert torch.cuda.memory_allocated() == torch.cuda.max_memory_allocated() == before
    assert other.unet is pipeline.unet


@pytest.mark.full_size
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_the_peak_of_a_move_is_the_weights(dtype: torch.dtype | None, full_size: Path) -> None:
    before = torch.cuda.memory_allocated()
    pipeline = warpload.DiffusionPipeline.from_pretrained(full_size, dtype=torch.float16)
    assert torch.cuda.memory_allocated() == before

    pipeline.to("cuda", *([] if dtype is None else [dtype]))

    assert_peak_is_the_weights(before, pipeline)
    stock = diffusers.DiffusionPipeline.from_pretrained(full_size, dtype=torch.float16)
    stock.to("cuda", *([] if dtype is None else [dtype]))
    assert_same_pipeline(pipeline, stock)


@pytest.mark.full_size
def test_all_memory_goes_back(full_size: Path) -> None:
    before = torch.cuda.memory_allocated()
    pipeline = warpload.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=torch.float16)
    for name in list(models_of(pipeline)):
        held, weights = torch.cuda.memory_allocated(), weights_of(pipeline)
        setattr(pipeline, name, None)
        gc.collect()
        freed = held - torch.cuda.memory_allocated()
        assert freed >= weights - weights_of(pipeline), name

    assert torch.cuda.memory_allocated() == before


# -- a module that is there -------------------------------------------------------------------------------------------


def test_what_is_on_the_gpu_does_not_move_again(gpu: Device, saved: Saved) -> None:
    module = warpload.to_device(torch.nn.Linear(3, 3), "cuda")
    address = module.weight.data_ptr()
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map="cuda")
    done = gpu.allocations

    warpload.to_device(module, "cuda:0")
    pipeline.to("cuda")

    assert module.weight.data_ptr() == address
    assert gpu.allocations == done


def test_what_is_half_there_moves_by_half(gpu: Device) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3).to("cuda"), torch.nn.Linear(3, 3))
    address = module[0].weight.data_ptr()

    warpload.to_device(module, "cuda")

    assert module[0].weight.data_ptr() == address
    assert gpu.holds(module[1].weight)


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Return a file of 128 MiB, and what is in it."""
    tensors = {f"t{number}": torch.randint(-(2**31), 2**31, (4 * MIB,), dtype=torch.int32) for number in range(8)}
    safetensors.torch.save_file(tensors, tmp_path / "large.safetensors")
    return tmp_path / "large.safetensors", tensors


def busy_then_free(nbytes: int) -> range:
    """Queue work that writes to memory for long on the current stream, free it, and return its addresses."""
    memory = torch.zeros(nbytes, dtype=torch.uint8, device="cuda")
    for value in range(20):
        torch.cuda._sleep(LATER // 20)
        memory.fill_(value + 1)
    return range(memory.data_ptr(), memory.data_ptr() + nbytes)


def assert_recycled(addresses: range, loaded: dict[str, torch.Tensor]) -> None:
    """Fail unless the tensors lie in the memory that was written to: otherwise the test shows nothing."""
    assert all(tensor.data_ptr() in addresses for tensor in loaded.values())


def test_memory_that_is_still_written_to_is_not_filled_before(large: tuple[Path, dict[str, torch.Tensor]]) -> None:
    file, expected = large
    addresses = busy_then_free(file.stat().st_size + MIB)

    loaded = warpload.load_file(file, "cuda")

    assert_recycled(addresses, loaded)
    assert_same_tensors({name: tensor.cpu() for name, tensor in loaded.items()}, expected)


@pytest.mark.parametrize("side", ["host", "device"])
def test_nor_where_it_is_cast(side: str, tmp_path: Path) -> None:
    values = torch.randn(32 * MIB)
    safetensors.torch.save_file({"t": values}, tmp_path / "large.safetensors")
    with warpload.LoadOptions(device_casts=side):
        warpload.load_file(tmp_path / "large.safetensors", "cuda", dtype=torch.bfloat16)  # makes what loads keep
        torch.cuda.empty_cache()
        addresses = busy_then_free(2 * values.numel() + MIB)

        loaded = warpload.load_file(tmp_path / "large.safetensors", "cuda", dtype=torch.bfloat16)

    assert_recycled(addresses, loaded)
    assert bytes_of(loaded["t"]) == bytes_of(values.to(torch.bfloat16))


def test_a_module_moves_behind_what_is_queued() -> None:
    module = torch.nn.Linear(4096, 4096, bias=False)
    expected = bytes_of(module.weight)
    addresses = busy_then_free(module.weight.nbytes + MIB)

    warpload.to_device(module, "cuda")

    assert module.weight.data_ptr() in addresses
    assert bytes_of(module.weight) == expected


def test_a_load_inside_another_stream_is_ordered_with_it(large: tuple[Path, dict[str, torch.Tensor]]) -> None:
    file, expected = large
    side = torch.cuda.Stream()

    with torch.cuda.stream(side):
        addresses = busy_then_free(file.stat().st_size + MIB)
        loaded = warpload.load_file(file, "cuda")
        doubled = {name: tensor * 2 for name, tensor in loaded.items()}
    side.synchronize()

    assert_recycled(addresses, loaded)
    assert_same_tensors({name: tensor.cpu() for name, tensor in loaded.items()}, expected)
    assert_same_tensors(
        {name: tensor.cpu() for name, tensor in doubled.items()}, {name: t * 2 for name, t in expected.items()}
    )


def test_a_pipeline_loaded_inside_another_stream_equals_stock(saved: Saved) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), device_map="cuda")

    with torch.cuda.stream(torch.cuda.Stream()):
        ours = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), device_map="cuda")
    torch.cuda.synchronize()

    assert_same_pipeline(ours, stock)


def test_what_is_queued_behind_a_load_sees_its_bytes(large: tuple[Path, dict[str, torch.Tensor]]) -> None:
    """Used, freed and recycled at once, without a synchronisation in between."""
    file, expected = large
    sums = []
    for _ in range(5):
        loaded = warpload.load_file(file, "cuda")
        sums.append(torch.stack([tensor.sum() for tensor in loaded.values()]))
        del loaded
        torch.full((file.stat().st_size,), 255, dtype=torch.uint8, device="cuda")

    wanted = torch.stack([tensor.sum() for tensor in expected.values()])
    assert all(torch.equal(found.cpu(), wanted) for found in sums)


# -- graphs -----------------------------------------------------------------------------------------------------------


def assert_graph_works(graph: torch.cuda.CUDAGraph, counter: torch.Tensor) -> None:
    """Fail unless the graph adds one to the counter whenever it is replayed."""
    before = counter.tolist()
    for _ in range(3):
        graph.replay()
    assert counter.tolist() == [value + 3 for value in before]


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=str)
def test_a_load_beside_a_capture_in_another_thread_arrives_and_leaves_the_graph_whole(
    dtype: torch.dtype | None, tmp_path: Path
) -> None:
    """torch captures in the mode that forbids every thread of the process what the driver calls unsafe."""
    values = torch.randn(16 * MIB)
    safetensors.torch.save_file({"t": values}, tmp_path / "floats.safetensors")
    counter, graph = torch.zeros(8, dtype=torch.int64, device="cuda"), torch.cuda.CUDAGraph()
    outcome: list[Any] = []

    def load() -> None:
        try:
            with warpload.LoadOptions(device_casts="device"):
                outcome.append(warpload.load_file(tmp_path / "floats.safetensors", "cuda", dtype=dtype)["t"])
            warpload.release_pinned_memory()
        except BaseException as error:  # told by the main thread
            outcome.append(error)

    with torch.cuda.graph(graph, capture_error_mode="global"):
        counter += 1
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()

    assert_graph_works(graph, counter)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    assert bytes_of(outcome[0]) == bytes_of(values if dtype is None else values.to(dtype))


def test_a_load_inside_a_capture_is_refused_and_leaves_the_graph_whole(
    large: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    counter, graph = torch.zeros(8, dtype=torch.int64, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        counter += 1
        held = torch.cuda.memory_reserved()
        with pytest.raises(warpload.InvalidArgumentError, match="before the capture begins"):
            warpload.load_file(large[0], "cuda")
        assert torch.cuda.memory_reserved() == held
        counter += 0

    assert_graph_works(graph, counter)


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", ["device_map", "to"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_images_equal_stocks(dtype: torch.dtype, load: str, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    arguments = {"safety_checker": None, "dtype": dtype, **({"device_map": "cuda"} if load == "device_map" else {})}

    images = []
    for library in (warpload, diffusers):
        pipeline = library.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), **arguments)
        if load == "to":
            pipeline.to("cuda")
        generator = torch.Generator("cuda").manual_seed(0)
        sizes = {"num_inference_steps": 2, "height": 16, "width": 16, "output_type": "pt"}
        images.append(pipeline("a bad cab", generator=generator, **sizes).images)

    assert images[0].isfinite().all()
    assert torch.equal(*images)


# -- little memory ----------------------------------------------------------------------------------------------------


def test_an_arena_that_does_not_fit_is_refused_before_anything_is_taken(
    large: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    file, expected = large
    before, total = torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((before + 64 * MIB) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            warpload.load_file(file, "cuda")
        assert torch.cuda.memory_reserved() == before
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert isinstance(caught.value, warpload.OutOfMemoryError)
    assert isinstance(caught.value, MemoryError)
    assert "cuda:0" in str(caught.value)
    assert str(total) in str(caught.value)
    loaded = warpload.load_file(file, "cuda")
    assert_same_tensors({name: tensor.cpu() for name, tensor in loaded.items()}, expected)


@pytest.mark.full_size
def test_a_pipeline_that_does_not_fit_is_refused_and_fits_later(saved: Saved, full_size: Path) -> None:
    before, total = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 1024 * MIB) / total)
    try:
        on_host = warpload.DiffusionPipeline.from_pretrained(full_size, dtype=torch.float16)
        calls: list[Callable[[], Any]] = [
            lambda: warpload.DiffusionPipeline.from_pretrained(full_size, device_map="cuda", dtype=torch.float16),
            lambda: on_host.to("cuda"),
            lambda: warpload.to_device(on_host.unet, "cuda"),
        ]
        for call in calls:
            with pytest.raises(warpload.OutOfMemoryError):
                call()
            assert {tensor.device.type for tensor in tensors_of(*models_of(on_host).values())} == {"cpu"}
            gc.collect()
            assert torch.cuda.memory_allocated() == before
        pipeline = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map="cuda")
        assert pipeline.unet.device.type == "cuda"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# What torch says of its cache, and whether it then gives the segments, in a process of its own.
FRAGMENTS = """
import sys
import torch, warpload
from warpload import devices
MIB, device = 2**20, torch.device("cuda", 0)

def mib(count):
    return torch.empty(count * MIB, dtype=torch.uint8, device=device)

def prepared():
    # Pieces of 100, 100 and 76 MiB in one allocation, with 12 MiB in use between them; 64 MiB more are allowed.
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0)
    whole = mib(300)
    del whole
    parts = [mib(100), mib(12), mib(100), mib(12)]
    limit = torch.cuda.memory_reserved() + 64 * MIB
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    return parts[1], parts[3]

def is_said_to_fit(sizes):
    try:
        devices._check_room(device, sizes)
    except warpload.OutOfMemoryError:
        return False
    return True

def fits(sizes):
    try:
        return len([mib(size // MIB) for size in sizes]) > 0
    except torch.OutOfMemoryError:
        return False

torch.cuda.init()
for counts in ([60], [100], [101], [128], [200], [100, 100], [100, 76, 100], [100, 76, 100, 60], [76, 100, 100, 70],
               [100, 100, 100], [101, 60], [340], [150, 150], [240]):
    kept = prepared()
    sizes = [count * MIB for count in counts]
    retries = torch.cuda.memory_stats()["num_alloc_retries"]
    said = is_said_to_fit(sizes)
    assert torch.cuda.memory_stats()["num_alloc_retries"] == retries
    assert said == fits(sizes), (counts, said, torch.cuda.memory_summary())
    del kept
"""


@pytest.mark.parametrize("settings", ["", "expandable_segments:True", "max_split_size_mb:64"])
def test_what_is_said_to_fit_into_torchs_cache_does_and_nothing_else(
    settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)  # the newer name, which wins
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", settings or "expandable_segments:False")

    run_python(FRAGMENTS)


def test_a_dropped_segment_serves_the_next_load(large: tuple[Path, dict[str, torch.Tensor]]) -> None:
    file, expected = large
    loaded = warpload.load_file(file, "cuda")
    reserved = torch.cuda.memory_reserved()
    del loaded
    gc.collect()

    loaded = warpload.load_file(file, "cuda")

    assert torch.cuda.memory_reserved() == reserved
    assert_same_tensors({name: tensor.cpu() for name, tensor in loaded.items()}, expected)


def test_unless_something_else_has_come_to_lie_in_it_before_the_cache_was_emptied(
    large: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    """As docs/memory.md says."""
    file, _ = large
    loaded = warpload.load_file(file, "cuda")
    reserved = torch.cuda.memory_reserved()
    del loaded
    gc.collect()
    activation = torch.empty(30 * MIB, dtype=torch.uint8, device="cuda")
    loaded = warpload.load_file(file, "cuda")
    assert torch.cuda.memory_reserved() >= reserved + file.stat().st_size - MIB
    del loaded, activation
    gc.collect()

    torch.cuda.empty_cache()
    activation = torch.empty(30 * MIB, dtype=torch.uint8, device="cuda")
    loaded = warpload.load_file(file, "cuda")

    assert torch.cuda.memory_reserved() <= reserved + 32 * MIB
    del loaded, activation


@pytest.mark.parametrize("limit", [None, 0, 65536])
@pytest.mark.parametrize("pinned_bytes", [1, 16 * MIB])
def test_little_pinned_memory_leaves_no_error_behind(
    pinned_bytes: int, limit: int | None, large: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    """With a limit on locked memory, pinning may fail; the load goes on, and CUDA has no error left over."""
    run_python(
        """
import resource, sys
import safetensors.torch, torch, warpload
if sys.argv[3] != "None":
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[3]),) * 2)
with warpload.LoadOptions(pinned_bytes=int(sys.argv[2])):
    loaded = warpload.load_file(sys.argv[1], "cuda")
    expected = safetensors.torch.load_file(sys.argv[1])
    assert all(torch.equal(loaded[name].cpu(), tensor) for name, tensor in expected.items())
    warpload.release_pinned_memory()
    again = warpload.load_file(sys.argv[1], "cuda")
torch.cuda.synchronize()
assert torch.ones(3, device="cuda").sum().item() == 3
assert all(torch.equal(again[name], loaded[name]) for name in again)
""",
        large[0],
        pinned_bytes,
        limit,
    )


def test_torchs_own_pinned_tensors_move_too(gpu: Device) -> None:
    module = torch.nn.Linear(64, 64)
    module.weight.data = module.weight.data.pin_memory()
    expected = bytes_of(module.weight)

    warpload.to_device(module, "cuda")

    assert bytes_of(module.weight) == expected
    assert gpu.holds(module.weight)


def test_the_current_device_is_left_as_it_was(saved: Saved) -> None:
    before = torch.cuda.current_device(), torch.cuda.current_stream()

    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map="cuda:0")

    assert (torch.cuda.current_device(), torch.cuda.current_stream()) == before


def test_the_first_load_of_a_process_may_be_the_first_use_of_cuda(saved: Saved) -> None:
    run_python(
        """
import sys
import warpload
pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1], device_map="cuda")
import diffusers, torch
stock = diffusers.DiffusionPipeline.from_pretrained(sys.argv[1], device_map="cuda")
for ours, expected in zip(pipeline.unet.parameters(), stock.unet.parameters(), strict=True):
    assert torch.equal(ours, expected)
del pipeline
assert warpload.release_pinned_memory() > 0
""",
        saved("ddpm"),
    )


def test_a_process_that_ends_with_a_pipeline_on_the_gpu_ends_well(saved: Saved) -> None:
    result = run_python(
        """
import sys, warpload
pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1], device_map="cuda")
""",
        saved("ddpm"),
    )

    assert "Traceback" not in result.stderr
