"""Tensors as the original checkpoints of models name and join them: the way back from diffusers' conversions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from diffusers.loaders import single_file_utils

Tensors = dict[str, torch.Tensor]
Rules = Iterable[tuple[str, str]]

COMFY = "model.diffusion_model."

_RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors under names with a prefix."""
    return {prefix + key: tensor for key, tensor in tensors.items()}


def _renamed(key: str, rules: Rules) -> str:
    for old, new in rules:
        key = key.replace(old, new)
    return key


def _first_of(key: str, rules: Rules) -> str:
    """Replace by the first rule that fits, and no other."""
    return next((key.replace(old, new, 1) for old, new in rules if old in key), key)


def _joined(tensors: Tensors, names: Iterable[str]) -> torch.Tensor:
    return torch.cat([tensors.pop(name) for name in names])


def _stems(tensors: Tensors, suffix: str) -> list[str]:
    return [key.removesuffix(suffix) for key in tensors if key.endswith(suffix)]


def _swapped(tensor: torch.Tensor) -> torch.Tensor:
    """Return shift and scale for scale and shift."""
    scale, shift = tensor.chunk(2)
    return torch.cat([shift, scale])


# -- Stable Diffusion -------------------------------------------------------------------------------------------------


def unet(tensors: Tensors) -> Tensors:
    """Return Stable Diffusion's and SDXL's U-Net."""
    known = single_file_utils.DIFFUSERS_TO_LDM_MAPPING["unet"]
    names = {**known["layers"], **known["addition_embed_type"]}
    with_attention = {key.split(".")[1] for key in tensors if key.startswith("up_blocks.") and ".attentions." in key}
    layers = _layers(tensors)
    return {
        COMFY + (names[key] if key in names else _unet_key(key, layers, with_attention)): each
        for key, each in tensors.items()
    }


def controlnet(tensors: Tensors) -> Tensors:
    """Return Stable Diffusion's ControlNet."""
    names = single_file_utils.DIFFUSERS_TO_LDM_MAPPING["controlnet"]["layers"]
    layers = _layers(tensors)
    rules = (
        (r"controlnet_cond_embedding\.blocks\.(\d)", lambda it: f"input_hint_block.{2 * int(it[1]) + 2}"),
        (r"controlnet_down_blocks\.(\d)", lambda it: f"zero_convs.{it[1]}.0"),
        (r"controlnet_mid_block", lambda _: "middle_block_out.0"),
    )
    original = {}
    for key, tensor in tensors.items():
        name = names.get(key, key)
        for old, new in rules:
            name = re.sub(old, new, name)
        original["control_model." + (name if name != key else _unet_key(key, layers, set()))] = tensor
    return original


def _layers(tensors: Tensors) -> int:
    """Return the number of layers in a block."""
    return 1 + max(int(key.split(".")[3]) for key in tensors if re.match(r"down_blocks\.\d\.resnets", key))


def _unet_key(key: str, layers: int, with_attention: set[str]) -> str:
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, number, rest = found.groups()
        return f"middle_block.1.{rest}" if kind == "attentions" else f"middle_block.{2 * int(number)}.{_resnet(rest)}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", key)
    assert found is not None, key
    side, block, kind, layer, rest = found.groups()
    first, name = (int(block) * (layers + 1) + 1, "input") if side == "down" else (int(block) * (layers + 1), "output")
    if kind == "downsamplers":
        return f"{name}_blocks.{first + layers}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"{name}_blocks.{first + layers}.{2 if block in with_attention else 1}.{rest}"
    number = first + int(layer)
    return f"{name}_blocks.{number}.1.{rest}" if kind == "attentions" else f"{name}_blocks.{number}.0.{_resnet(rest)}"


def _resnet(rest: str) -> str:
    return _renamed(rest, _RESNET)


def vae(tensors: Tensors, prefix: str = "first_stage_model.") -> Tensors:
    """Return the autoencoder of Stable Diffusion, SDXL, SD3 and Flux; its attention is convolutions of one pixel."""
    last = max(int(key.split(".")[2]) for key in tensors if key.startswith("decoder.up_blocks."))
    original = {}
    for key, tensor in tensors.items():
        name = re.sub(r"encoder\.down_blocks\.(\d)\.resnets", r"encoder.down.\1.block", key)
        name = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
        name = re.sub(
            r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers\.0)",
            lambda found: f"decoder.up.{last - int(found[1])}.{'block' if found[2] == 'resnets' else 'upsample'}",
            name,
        )
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            rules = [("mid_block.attentions.0", "mid.attn_1"), ("group_norm", "norm"), ("to_out.0", "proj_out")]
            name = _renamed(name, [*rules, ("to_q", "q"), ("to_k", "k"), ("to_v", "v")])
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        original[prefix + name] = tensor
    return original


def clip(tensors: Tensors, prefix: str) -> Tensors:
    """Return CLIP's text encoder in transformers' names, below a prefix."""
    return {f"{prefix}text_model.{key.removeprefix('text_model.')}": each for key, each in tensors.items()}


def open_clip(tensors: Tensors, prefix: str) -> Tensors:
    """Return SDXL's second text encoder in OpenCLIP's names, queries, keys and values joined."""
    rules = (
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("embeddings.token_embedding", "token_embedding"),
        ("final_layer_norm", "ln_final"),
        ("encoder.layers.", "transformer.resblocks."),
        ("layer_norm", "ln_"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("self_attn", "attn"),
    )
    left = {_renamed(key.removeprefix("text_model."), rules): tensor for key, tensor in tensors.items()}
    left["text_projection"] = left.pop("text_projection.weight").T.contiguous()
    for stem in sorted({key.partition("q_proj")[0] for key in left if "q_proj" in key}):
        for kind in ("weight", "bias"):
            left[f"{stem}in_proj_{kind}"] = _joined(left, [f"{stem}{each}_proj.{kind}" for each in "qkv"])
    return prefixed(left, prefix)


def t5(tensors: Tensors) -> Tensors:
    """Return SD3's third text encoder; its embedding is there under both of its names."""
    both = {**tensors, "encoder.embed_tokens.weight": tensors["shared.weight"]}
    return prefixed(both, "text_encoders.t5xxl.transformer.")


# -- transformers of images -------------------------------------------------------------------------------------------


def sd3(tensors: Tensors) -> Tensors:
    """Return SD3's transformer."""
    left = dict(tensors)
    last = max(int(key.split(".")[1]) for key in left if key.startswith("transformer_blocks."))
    for kind in ("weight", "bias"):
        for stem in _stems(left, f"to_q.{kind}"):
            left[f"{stem}qkv.{kind}"] = _joined(left, [f"{stem}to_{each}.{kind}" for each in "qkv"])
        for stem in [
            key.removesuffix(f"add_q_proj.{kind}") for key in list(left) if key.endswith(f"add_q_proj.{kind}")
        ]:
            left[f"{stem}added.{kind}"] = _joined(left, [f"{stem}add_{each}_proj.{kind}" for each in "qkv"])
        for key in (f"norm_out.linear.{kind}", f"transformer_blocks.{last}.norm1_context.linear.{kind}"):
            left[key] = _swapped(left[key])
    rules = (
        ("pos_embed.proj.", "x_embedder.proj."),
        ("pos_embed.pos_embed", "pos_embed"),
        ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
        ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
        ("attn.added", "context_block.attn.qkv"),
        ("attn.to_add_out", "context_block.attn.proj"),
        ("attn.norm_added_q", "context_block.attn.ln_q"),
        ("attn.norm_added_k", "context_block.attn.ln_k"),
        ("norm1_context.linear", "context_block.adaLN_modulation.1"),
        ("ff_context.net.0.proj", "context_block.mlp.fc1"),
        ("ff_context.net.2", "context_block.mlp.fc2"),
        ("ff.net.0.proj", "x_block.mlp.fc1"),
        ("ff.net.2", "x_block.mlp.fc2"),
        ("norm1.linear", "x_block.adaLN_modulation.1"),
        *((f".{own}.{old}.", f".x_block.{own}.{new}.") for own in ("attn", "attn2") for old, new in _OF_ATTENTION),
    )
    original = {}
    for key, tensor in left.items():
        name = "final_layer.linear" + key.removeprefix("proj_out") if key.startswith("proj_out.") else key
        original[_first_of(name, rules).replace("transformer_blocks.", "joint_blocks.")] = tensor
    return original


_OF_ATTENTION = (("qkv", "qkv"), ("to_out.0", "proj"), ("norm_q", "ln_q"), ("norm_k", "ln_k"))


def flux(tensors: Tensors) -> Tensors:
    """Return Flux's transformer."""
    left = dict(tensors)
    for kind in ("weight", "bias"):
        for stem in _stems(left, f"attn.to_q.{kind}"):
            own = [f"{stem}attn.to_{each}.{kind}" for each in "qkv"]
            if stem.startswith("single"):
                left[f"{stem}linear1.{kind}"] = _joined(left, [*own, f"{stem}proj_mlp.{kind}"])
            else:
                left[f"{stem}img_attn.qkv.{kind}"] = _joined(left, own)
                added = [f"{stem}attn.add_{each}_proj.{kind}" for each in "qkv"]
                left[f"{stem}txt_attn.qkv.{kind}"] = _joined(left, added)
        left[f"norm_out.linear.{kind}"] = _swapped(left[f"norm_out.linear.{kind}"])
    return {_flux_key(key): tensor for key, tensor in left.items()}


def _flux_key(key: str) -> str:
    outside = (
        ("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        ("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
        ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
        ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
        ("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
        ("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
        ("context_embedder", "txt_in"),
        ("x_embedder", "img_in"),
        ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    )
    if key.startswith("single_transformer_blocks."):
        rules = (
            ("norm.linear", "modulation.lin"),
            ("attn.norm_q.weight", "norm.query_norm.scale"),
            ("attn.norm_k.weight", "norm.key_norm.scale"),
            ("proj_out", "linear2"),
        )
        return _first_of(key, rules).replace("single_transformer_blocks.", "single_blocks.")
    if not key.startswith("transformer_blocks."):
        return _first_of(key, (*outside, ("proj_out", "final_layer.linear")))
    rules = (
        ("norm1.linear", "img_mod.lin"),
        ("norm1_context.linear", "txt_mod.lin"),
        ("attn.norm_q.weight", "img_attn.norm.query_norm.scale"),
        ("attn.norm_k.weight", "img_attn.norm.key_norm.scale"),
        ("attn.norm_added_q.weight", "txt_attn.norm.query_norm.scale"),
        ("attn.norm_added_k.weight", "txt_attn.norm.key_norm.scale"),
        ("ff.net.0.proj", "img_mlp.0"),
        ("ff.net.2", "img_mlp.2"),
        ("ff_context.net.0.proj", "txt_mlp.0"),
        ("ff_context.net.2", "txt_mlp.2"),
        ("attn.to_out.0", "img_attn.proj"),
        ("attn.to_add_out", "txt_attn.proj"),
    )
    return _first_of(key, rules).replace("transformer_blocks.", "double_blocks.")


# -- video ------------------------------------------------------------------------------------------------------------


def wan(tensors: Tensors) -> Tensors:
    """Return Wan's transformer."""
    rules = (
        ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
        ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
        ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
        ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
        ("condition_embedder.time_proj", "time_projection.1"),
        ("attn2.", "cross_attn."),
        ("attn1.", "self_attn."),
        ("to_out.0.", "o."),
        *((f"to_{each}.", f"{each}.") for each in "qkv"),
        ("ffn.net.0.proj", "ffn.0"),
        ("ffn.net.2", "ffn.2"),
        ("norm2", "norm3"),
        ("proj_out", "head.head"),
    )
    original = {}
    for key, tensor in tensors.items():
        name = "head.modulation" if key == "scale_shift_table" else key.replace("scale_shift_table", "modulation")
        original[_renamed(name, rules)] = tensor
    return original


def wan_vae(tensors: Tensors) -> Tensors:
    """Return Wan's autoencoder."""
    parts = (
        ("norm1.gamma", "residual.0.gamma"),
        ("conv1.", "residual.2."),
        ("norm2.gamma", "residual.3.gamma"),
        ("conv2.", "residual.6."),
        ("conv_shortcut", "shortcut"),
    )
    outside = (("post_quant_conv", "conv2"), ("quant_conv", "conv1"), ("conv_in.", "conv1."))
    original = {}
    for key, tensor in tensors.items():
        name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda it: f"upsamples.{4 * int(it[1]) + int(it[2])}", key)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda it: f"upsamples.{4 * int(it[1]) + 3}", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda it: f"middle.{2 * int(it[1])}", name)
        name = name.replace("mid_block.attentions.0", "middle.1").replace("down_blocks", "downsamples")
        name = name.replace("norm_out.gamma", "head.0.gamma").replace("conv_out.", "head.2.")
        in_block = re.search(r"samples\.|middle\.[02]", name) is not None and "resample" not in name
        original[_first_of(name, parts) if in_block else _first_of(name, outside)] = tensor
    return original


def ltx(tensors: Tensors) -> Tensors:
    """Return LTX Video's transformer."""
    rules = (("proj_in", "patchify_proj"), ("time_embed", "adaln_single"), ("norm_q", "q_norm"), ("norm_k", "k_norm"))
    return {COMFY + _renamed(key, rules): tensor for key, tensor in tensors.items()}


def ltx_vae(tensors: Tensors) -> Tensors:
    """Return the autoencoder of LTX Video 0.9, of two blocks a side."""
    encoder = (
        ("down_blocks.0.downsamplers.0", "down_blocks.1"),
        ("down_blocks.0.conv_out", "down_blocks.2"),
        ("down_blocks.1.downsamplers.0", "down_blocks.4"),
        ("down_blocks.1", "down_blocks.3"),
        ("mid_block", "down_blocks.9"),
    )
    decoder = (
        ("mid_block", "up_blocks.0"),
        ("up_blocks.0", "up_blocks.1"),
        ("up_blocks.1.upsamplers.0", "up_blocks.2"),
        ("up_blocks.1", "up_blocks.3"),
    )
    inside = (
        ("conv_shortcut.conv", "conv_shortcut"),
        ("resnets", "res_blocks"),
        ("latents_mean", "per_channel_statistics.mean-of-means"),
        ("latents_std", "per_channel_statistics.std-of-means"),
    )
    return {
        "vae." + _renamed(_first_of(key, encoder if key.startswith("encoder") else decoder), inside): tensor
        for key, tensor in tensors.items()
    }


ORIGINAL: dict[str, Callable[[Tensors], Tensors]] = {
    "unet": unet,
    "unet-xl": unet,
    "vae": vae,
    "sd3": sd3,
    "sd3-comfy": lambda tensors: prefixed(sd3(tensors), COMFY),
    "flux": flux,
    "flux-comfy": lambda tensors: prefixed(flux(tensors), COMFY),
    "wan": wan,
    "wan-comfy": lambda tensors: prefixed(wan(tensors), COMFY),
    "wan-vae": wan_vae,
    "ltx": ltx,
    "ltx-vae": ltx_vae,
}
