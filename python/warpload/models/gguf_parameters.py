"""The tensors of a GGUF file as diffusers' own reader gives them: its parameter class, and stock's types only.

F32 and F16 are float32 and float16 here and there. BF16 is bfloat16 to the core, and to diffusers a ``GGUFParameter``
of uint8, two bytes a number. Blocks are uint8 to the core, and to diffusers a ``GGUFParameter`` of the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import _core, engine, errors
from ..stock import seam_check

if TYPE_CHECKING:
    import torch

_MODULE = "diffusers.quantizers.gguf.utils"
_BF16 = 30  # ggml's number
_PLAIN = frozenset({"F32", "F16", "BF16"})


def open_for_diffusers(file: engine.StrPath) -> _core.Checkpoint:
    """Open a GGUF file all of whose tensors have types that diffusers takes.

    Raises:
        WarploadError: the file is not valid or missing, or stock refuses it: stock is to say so in its own words.
        NotNativeError: this version of diffusers is not as we know it.
    """
    try:
        import gguf
    except ImportError:
        raise errors.make("InvalidArgumentError", "the gguf package is not installed") from None
    supported = seam_check.read(_MODULE, "SUPPORTED_GGUF_QUANT_TYPES")
    checkpoint = engine.open_checkpoint(file, gguf=True)
    known = {int(each) for each in supported} & {int(each) for each in gguf.GGMLQuantizationType}
    blocks = checkpoint.blocks
    for name, own, _, _ in checkpoint.tensors():
        kind, number = blocks.get(name, (own, _BF16))
        if number not in known or (name not in blocks and own not in _PLAIN):
            raise errors.make("InvalidArgumentError", f"diffusers does not take tensors of type {kind}", tensor=name)
    return checkpoint


def as_parameters(
    tensors: Mapping[str, torch.Tensor], blocks: Mapping[str, tuple[str, int]]
) -> dict[str, torch.Tensor]:
    """Return the tensors of such a file as stock's reader would; none is copied.

    Args:
        tensors: from ``load_checkpoint``, in the file's own dtypes.
        blocks: of the quantised ones, from the open file.
    """
    import gguf
    import torch

    parameter = seam_check.read(_MODULE, "GGUFParameter")

    def as_parameter(name: str, tensor: torch.Tensor) -> Any:
        number = blocks[name][1] if name in blocks else _BF16 if tensor.dtype == torch.bfloat16 else None
        if number is None:
            return tensor
        return parameter(tensor.view(torch.uint8), quant_type=gguf.GGMLQuantizationType(number))

    return {name: as_parameter(name, tensor) for name, tensor in tensors.items()}
