"""Layouts of original checkpoints as data: which names they have, what they join, whose halves have changed places.

They are the way back from diffusers' conversions, of the classes that `original_layouts` has no function for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

from families import (
    cosmos,
    flux,
    hunyuan_video,
    language_images,
    ltx2,
    other_images,
    other_videos,
    qwen_image,
    transformer_images,
    unet_videos,
    wan,
)

from . import layout_names, original_layouts, unet_models
from .layout_names import ADDED, QKV, renamed
from .original_layouts import COMFY, Rules, Tensors
from .parts import Part


def _unchanged(tensors: Tensors) -> Tensors:
    return dict(tensors)


@dataclass(frozen=True)
class Layout:
    """How one class is published.

    Attributes:
        part: a tiny model of it.
        joined: the original name of several tensors as one -> their names; both within the names of modules.
        swapped: what the names have whose tensors' halves change places.
        names: regular expressions and what replaces them, one after the other.
        finish: what else is done to the tensors, after all that.
        prefix: of all names.
        more: what published files have beside: shapes by names.
    """

    part: Part
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    swapped: tuple[str, ...] = ()
    names: Rules = ()
    finish: Callable[[Tensors], Tensors] = _unchanged
    prefix: str = ""
    more: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def original(self, tensors: Tensors) -> Tensors:
        """Return a model's tensors as they are published."""
        left = dict(tensors)
        for together, apart in self.joined.items():
            _join(left, together, apart)
        for key in left:
            if any(part in key for part in self.swapped):
                left[key] = torch.cat(left[key].chunk(2)[::-1])
        named = {renamed(key, self.names): tensor for key, tensor in left.items()}
        assert len(named) == len(left)
        more = {name: torch.ones(shape) for name, shape in self.more.items()}
        return original_layouts.prefixed(self.finish(named), self.prefix) | more


def _join(tensors: Tensors, together: str, apart: tuple[str, ...]) -> None:
    """Join tensors in whichever modules have them all."""
    first = re.compile(rf"(.*\.|){re.escape(apart[0])}(\..*|)")
    for key in list(tensors):
        if (found := first.fullmatch(key)) is None:
            continue
        names = [f"{found[1]}{each}{found[2]}" for each in apart]
        if all(name in tensors for name in names):
            tensors[f"{found[1]}{together}{found[2]}"] = torch.cat([tensors.pop(name) for name in names])


# -- the table --------------------------------------------------------------------------------------------------------

_CASCADE = other_images.CASCADE_UNET
_CHROMA = flux.CHROMA["transformer"]
_CHROMA_JOINS = {**layout_names.OF_SINGLE, **layout_names.OF_BOTH}
_Z_CONTROLNET = transformer_images.Z_CONTROLNET
# Of modular pipelines only, and so of no family.
_FLUX_3 = Part(
    "Flux3Transformer2DModel",
    in_channels=4,
    cond_in_channels=4,
    num_layers=1,
    num_single_layers=1,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=8,
    timestep_channels=8,
    mlp_ratio=1.0,
    axes_dims_rope=(2, 2, 2, 2),
    flow_map=True,
)
_MINIMAX = Part(
    "MiniMaxH3Transformer3DModel",
    num_attention_heads=2,
    attention_head_dim=8,
    hidden_size=12,
    num_layers=1,
    num_refiner_layers=1,
    ffn_dim=16,
    in_channels=4,
    audio_in_channels=4,
    text_dim=8,
    freq_dim=8,
    time_embed_hidden_dim=8,
    time_embed_dim=8,
)
_ANIMATE_2 = Part(
    "WanAnimate2Transformer3DModel",
    in_dim=4,
    dim=24,
    ffn_dim=16,
    freq_dim=8,
    text_dim=8,
    out_dim=4,
    num_heads=2,
    num_layers=1,
    use_img_emb=False,
)

_ALL: dict[str, Layout] = {
    "cascade-prior": Layout(_CASCADE, joined=layout_names.CASCADE_QKV, names=layout_names.CASCADE),
    "cascade-decoder": Layout(
        _CASCADE.but(clip_text_in_channels=None, clip_image_in_channels=None),
        joined=layout_names.CASCADE_QKV,
        names=(*layout_names.CASCADE, ("clip_txt_pooled_mapper", "clip_mapper")),
    ),
    "controlnet": Layout(unet_models.controlnet, finish=original_layouts.controlnet),
    "motion-adapter": Layout(unet_videos.ADAPTER, finish=layout_names.motion),
    "sparse-controlnet": Layout(unet_videos.SPARSE["controlnet"], finish=layout_names.motion),
    "chroma": Layout(_CHROMA, joined=_CHROMA_JOINS, names=layout_names.CHROMA),
    "chroma-comfy": Layout(_CHROMA, joined=_CHROMA_JOINS, names=layout_names.CHROMA, prefix=COMFY),
    "flux-2": Layout(
        flux.TWO["transformer"], joined=layout_names.OF_BOTH, swapped=("norm_out.linear",), names=layout_names.FLUX_2
    ),
    "flux-3": Layout(_FLUX_3, swapped=("norm_out.linear",), names=layout_names.FLUX_3),
    "ernie": Layout(language_images.ERNIE["transformer"], prefix=COMFY),
    "deep-compression": Layout(
        transformer_images.DEEP_COMPRESSION,
        joined={"attn.to_qkv": layout_names.of("attn", QKV)},
        names=layout_names.DEEP_COMPRESSION,
        finish=layout_names.pixels,
    ),
    "aura-flow": Layout(
        transformer_images.AURA_FLOW["transformer"], swapped=("norm_out.linear",), names=layout_names.AURA
    ),
    "lumina-2": Layout(
        transformer_images.LUMINA_2["transformer"],
        joined={"attn.qkv": layout_names.of("attn", QKV)},
        names=layout_names.LUMINA,
        more={"norm_final.weight": (12,)},
    ),
    "sana": Layout(
        transformer_images.SANA_TRANSFORMER,
        joined={
            "attn.qkv": layout_names.of("attn1", QKV),
            "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
        },
        names=layout_names.SANA,
        more={"pos_embed": (1, 4, 8), "y_embedder.y_embedding": (4, 8)},
    ),
    "hidream": Layout(transformer_images.HIDREAM["transformer"], prefix=COMFY),
    # Not of version 1: diffusers has taken all keys away before it looks which version a checkpoint is of.
    "cosmos-2": Layout(
        cosmos.TRANSFORMER.but(extra_pos_embed_type=None),
        names=layout_names.COSMOS_2,
        prefix="net.",
        more={"net.pos_embedder.seq": (4,), "net.accum_iteration": (1,)},
    ),
    "qwen-image": Layout(qwen_image.TRANSFORMER),
    "qwen-image-2.1": Layout(
        qwen_image.VERSION_2_1["transformer"],
        joined={"img_mlp.gate_up": ("img_mlp.gate_layer", "img_mlp.proj")},
        prefix=COMFY,
    ),
    "krea-2": Layout(
        language_images.KREA_2["transformer"], names=layout_names.KREA, finish=layout_names.flat_modulations
    ),
    "z-image": Layout(
        transformer_images.Z_TRANSFORMER,
        joined={"attention.qkv": layout_names.of("attention", QKV)},
        names=layout_names.Z_IMAGE,
        prefix=COMFY,
        more={COMFY + "norm_final.weight": (12,)},
    ),
    "z-image-controlnet": Layout(_Z_CONTROLNET),
    "z-image-controlnet-shared": Layout(
        _Z_CONTROLNET.but(add_control_noise_refiner="control_layers"),
        more={"control_noise_refiner.0.after_proj.weight": (12, 12)},
    ),
    "mochi": Layout(
        other_videos.MOCHI["transformer"].but(num_layers=48),  # which the conversion has as a number
        joined={
            "attn1.qkv_x": layout_names.of("attn1", QKV),
            "attn1.qkv_y": layout_names.of("attn1", ADDED),
        },
        swapped=("ff.net.0.proj", "ff_context.net.0.proj", "norm_out.linear"),
        names=layout_names.MOCHI,
    ),
    "hunyuan-video": Layout(
        hunyuan_video.TRANSFORMER,
        joined={
            **layout_names.OF_SINGLE,
            "txt_attn_qkv": layout_names.of("attn", ADDED),
            "img_attn_qkv": layout_names.of("attn", QKV),
        },
        swapped=("norm_out.linear",),
        names=layout_names.HUNYUAN,
    ),
    "sky-reels-2": Layout(wan.FORCING["transformer"], finish=original_layouts.wan),
    "chrono-edit": Layout(
        wan.CHRONO["transformer"], names=layout_names.WAN_IMAGE, prefix=COMFY, finish=original_layouts.wan
    ),
    "wan-vace": Layout(wan.VACE, names=layout_names.WAN_VACE, finish=original_layouts.wan),
    "wan-animate": Layout(
        wan.ANIMATE,
        joined={"linear1_kv": ("to_k", "to_v")},
        names=layout_names.WAN_ANIMATE,
        finish=layout_names.wan_animate,
    ),
    "wan-animate-2": Layout(_ANIMATE_2, names=layout_names.WAN_ANIMATE_2),
    "minimax-h3": Layout(
        _MINIMAX,
        joined={"attn.qkv_proj": layout_names.of("attn", QKV)},
        swapped=("ff.net.0.proj",),
        names=layout_names.MINIMAX,
        more={"rope.inv_freq": (4,)},
    ),
    "ltx-2": Layout(ltx2.TRANSFORMER, names=layout_names.LTX_2, prefix=COMFY),
    "ltx-2-vae": Layout(
        ltx2.VAE,
        names=layout_names.LTX_2_VAE,
        prefix="vae.",
        more={"vae.per_channel_statistics.mean-of-stds": (4,)},
    ),
    "motif-video": Layout(other_videos.MOTIF["transformer"]),
}

LAYOUTS = {name: layout for name, layout in _ALL.items() if layout.part.name in SINGLE_FILE_LOADABLE_CLASSES}
"""By name; those whose class the installed diffusers loads from single files."""

NOT_GIVEN = {"AutoencoderKLLTX2Audio": "diffusers lists it, but it has no from_single_file"}
"""Classes in diffusers' list that no layout is of -> why."""

WIDTHS: dict[str, dict[int, int]] = {
    "convert_flux_transformer_checkpoint_to_diffusers": {3072: 16},
    "convert_chroma_transformer_checkpoint_to_diffusers": {3072: 16},
    "convert_hunyuan_video_transformer_to_diffusers": {3072: 16},
    "convert_lumina2_to_diffusers": {2304: 12, 768: 6},
}
"""What diffusers' conversions have as numbers, and what it is in the tiny models."""
