"""Stable Diffusion 1.5 and XL guided by pictures: ControlNet, two of them, union, XS, and T2I adapters."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part

from . import stable_diffusion, stable_diffusion_xl
from .registry import Parts, Table

# Two of a kind are saved side by side in one component.
GUIDED: Parts = {**stable_diffusion.COMMON, "controlnet": unet_models.controlnet}
TWICE = {"controlnet": [unet_models.controlnet, unet_models.controlnet.but(conditioning_channels=1)]}
GUIDED_XL: Parts = {**stable_diffusion_xl.COMMON, "controlnet": unet_models.controlnet_xl}
TWICE_XL = {"controlnet": [unet_models.controlnet_xl, unet_models.controlnet_xl]}

# One ControlNet for several kinds of pictures.
UNION: Parts = {
    **stable_diffusion_xl.COMMON,
    "controlnet": unet_models.controlnet_xl.of(
        "ControlNetUnionModel", num_control_type=3, num_trans_channel=4, num_trans_head=2, num_proj_channel=4
    ),
}

# An adapter that is joined with the U-Net it is made for.
ADAPTER_XS = Part(
    "ControlNetXSAdapter",
    conditioning_embedding_out_channels=(2, 4),
    learn_time_embedding=True,
    time_embedding_mix=1.0,
    num_attention_heads=2,
    block_out_channels=[2, 4],
    base_block_out_channels=(4, 8),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    sample_size=8,
    cross_attention_dim=8,
    max_norm_num_groups=2,
    use_linear_projection=False,
    upcast_attention=False,
)
XS = {"unet": models.unet.but(layers_per_block=2), "controlnet": ADAPTER_XS}
XS_XL: Parts = {
    "unet": unet_models.unet_xl.but(layers_per_block=2),
    "controlnet": ADAPTER_XS.but(
        cross_attention_dim=16, transformer_layers_per_block=(1, 2), use_linear_projection=True
    ),
}

ADAPTER = Part("T2IAdapter", channels=[4, 8], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter")

FAMILIES: Table = {
    "stable-diffusion-controlnet": ("StableDiffusionControlNetPipeline", GUIDED),
    "stable-diffusion-controlnet-two": ("StableDiffusionControlNetPipeline", GUIDED, TWICE),
    "stable-diffusion-controlnet-img2img": ("StableDiffusionControlNetImg2ImgPipeline", GUIDED),
    "stable-diffusion-controlnet-inpaint": ("StableDiffusionControlNetInpaintPipeline", GUIDED),
    "stable-diffusion-controlnet-xs": ("StableDiffusionControlNetXSPipeline", stable_diffusion.COMMON, XS),
    "stable-diffusion-adapter": ("StableDiffusionAdapterPipeline", stable_diffusion.COMMON, {"adapter": ADAPTER}),
    "stable-diffusion-adapter-light": (
        "StableDiffusionAdapterPipeline",
        stable_diffusion.COMMON,
        {"adapter": ADAPTER.but(adapter_type="light_adapter")},
    ),
    "stable-diffusion-adapter-two": (
        "StableDiffusionAdapterPipeline",
        stable_diffusion.COMMON,
        {"adapter": Part("MultiAdapter", adapters=[ADAPTER, ADAPTER])},
    ),
    "stable-diffusion-xl-controlnet": ("StableDiffusionXLControlNetPipeline", GUIDED_XL),
    "stable-diffusion-xl-controlnet-two": ("StableDiffusionXLControlNetPipeline", GUIDED_XL, TWICE_XL),
    "stable-diffusion-xl-controlnet-img2img": ("StableDiffusionXLControlNetImg2ImgPipeline", GUIDED_XL),
    "stable-diffusion-xl-controlnet-inpaint": ("StableDiffusionXLControlNetInpaintPipeline", GUIDED_XL),
    "stable-diffusion-xl-controlnet-union": ("StableDiffusionXLControlNetUnionPipeline", UNION),
    "stable-diffusion-xl-controlnet-union-img2img": ("StableDiffusionXLControlNetUnionImg2ImgPipeline", UNION),
    "stable-diffusion-xl-controlnet-union-inpaint": ("StableDiffusionXLControlNetUnionInpaintPipeline", UNION),
    "stable-diffusion-xl-controlnet-xs": ("StableDiffusionXLControlNetXSPipeline", stable_diffusion_xl.COMMON, XS_XL),
    "stable-diffusion-xl-adapter": (
        "StableDiffusionXLAdapterPipeline",
        stable_diffusion_xl.COMMON,
        {"adapter": ADAPTER.but(adapter_type="full_adapter_xl")},
    ),
}
