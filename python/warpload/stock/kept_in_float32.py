"""Which tensors of a model stay in float32 although it is loaded in another dtype.

Stock asks the model's class. Bytes that move before the class is imported ask ``foreseen``, which knows the classes of
the table below: what is missing there, or wrong, is put right once the class is known, and costs time only.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .model_files import read_config

# diffusers' classes and the parts of names that they keep, in every dtype. A test compares the table with the classes.
_WAN = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")
_KEPT_BY_DIFFUSERS: dict[str, tuple[str, ...]] = {
    "AnyFlowFARTransformer3DModel": _WAN,
    "AnyFlowTransformer3DModel": _WAN,
    "AutoencoderKLMiniMaxH3": ("encoder", "quant_conv", "norm1", "norm2", "norm_out", "scale1", "scale2"),
    "AutoencoderKLMiniMaxH3Audio": ("encoder", "decoder", "pre_block", "dec_in_proj", "mean_proj", "logs_proj"),
    "ChronoEditTransformer3DModel": _WAN,
    "Cosmos3OmniTransformer": ("time_embedder",),
    "CosmosControlNetModel": ("learnable_pos_embed",),
    "CosmosTransformer3DModel": ("learnable_pos_embed",),
    "Flux3Transformer2DModel": ("norm_q", "norm_k"),
    "HeliosTransformer3DModel": (*_WAN, "history_key_scale"),
    "JoyImageEditPlusTransformer3DModel": ("time_embedder", "norm1", "norm2", "norm_out"),
    "JoyImageEditTransformer3DModel": ("time_embedder", "norm1", "norm2", "norm_out"),
    "Kandinsky5Transformer3DModel": ("time_embeddings", "modulation", "visual_modulation", "text_modulation"),
    "Kandinsky6SRTransformer3DModel": ("time_embeddings", "pooled_bias", "modulation"),
    "Kandinsky6Transformer3DModel": ("time_embeddings", "modulation"),
    "Krea2Transformer2DModel": ("norm", "norm1", "norm2", "norm_q", "norm_k"),
    "MiniMaxH3Transformer3DModel": ("proj_in", "audio_proj_in", "time_embedder", "proj_out", "audio_proj_out", "rope"),
    "RFD4ProteinaAutoencoder": ("latent_decoder_mean_n_log_scale", "norm"),
    "RFD4ProteinaTransformer": ("cond_factory", "norm", "ln_out"),
    "SkyReelsV2Transformer3DModel": ("rope", *_WAN),
    "WanAnimate2Transformer3DModel": (
        *("time_embedding", "time_projection", "scale_shift_table", "norm1", "norm2", "norm3", "modulation"),
    ),
    "WanAnimateTransformer3DModel": (*_WAN, "motion_synthesis_weight", "rope"),
    "WanTransformer3DModel": ("rope", *_WAN),
    "WanVACETransformer3DModel": ("rope", *_WAN),
}

# transformers' kinds of models and the parts of names that they keep where all else is in float16.
_KEPT_BY_TRANSFORMERS = {"t5": ("wo",), "mt5": ("wo",), "umt5": ("wo",)}


def keeps(patterns: Collection[str], name: str) -> bool:
    """Tell whether a tensor is among those that stay in float32: one of the patterns is a whole part of its name."""
    dotted = f".{name}."
    return any(f".{pattern}." in dotted for pattern in patterns)


def by_diffusers(cls: Any) -> frozenset[str]:
    """Return what a class of diffusers keeps, whichever dtype is asked for; patterns with dots never match there."""
    kept = cls._keep_in_fp32_modules or []
    return frozenset(each for each in ([kept] if isinstance(kept, str) else kept) if "." not in each)


def by_transformers(cls: Any, code: str | None) -> frozenset[str]:
    """Return what a class of transformers keeps in a dtype: some in float16 only, some in bfloat16, too.

    The first transformers 5, whose classes have a ``dtype_plan``, keep all of them in every dtype.
    """
    always = hasattr(cls, "dtype_plan")
    in_float16 = set(cls._keep_in_fp32_modules or ()) if always or code == "F16" else set()
    strict = set(getattr(cls, "_keep_in_fp32_modules_strict", None) or ())
    in_both = strict if always or code in ("F16", "BF16") else set()
    return frozenset(in_float16 | in_both)


def foreseen(folder: Path, code: str | None) -> frozenset[str]:
    """Return what the model of a folder will probably keep, before its class is imported.

    Args:
        folder: where its configuration lies.
        code: the dtype that it is loaded in.
    """
    if code in (None, "F32"):
        return frozenset()
    config = read_config(folder)
    kept = _KEPT_BY_DIFFUSERS.get(str(config.get("_class_name")), ())
    if not kept and code == "F16":
        kept = _KEPT_BY_TRANSFORMERS.get(str(config.get("model_type")), ())
    return frozenset(kept)
