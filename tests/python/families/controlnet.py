"""Stable Diffusion 1.5 and XL guided by pictures: ControlNet, two of them, union, XS, and T2I adapters."""

from __future__ import annotations

from typing import Any

from diffusers import (
    ControlNetUnionModel,
    ControlNetXSAdapter,
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionControlNetXSPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionImg2ImgPipeline,
    StableDiffusionXLControlNetUnionInpaintPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionXLControlNetXSPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)

from support import models, unet_models

from .registry import family
from .stable_diffusion import stable_diffusion_parts
from .stable_diffusion_xl import stable_diffusion_xl_parts


def controlnet_parts() -> dict[str, Any]:
    return stable_diffusion_parts(controlnet=unet_models.controlnet())


def controlnet_xl_parts() -> dict[str, Any]:
    return stable_diffusion_xl_parts(controlnet=unet_models.controlnet(**unet_models.XL_CONDITIONED))


def union_parts() -> dict[str, Any]:
    """Return the components of SDXL with one ControlNet for several kinds of pictures."""
    controlnet = ControlNetUnionModel(
        block_out_channels=(4, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(2, 4),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
        num_control_type=3,
        num_trans_channel=4,
        num_trans_head=2,
        num_proj_channel=4,
        **unet_models.XL_CONDITIONED,
    )
    return stable_diffusion_xl_parts(controlnet=models.randomised(controlnet, 30))


def controlnet_xs(unet: UNet2DConditionModel) -> ControlNetXSAdapter:
    """Return an adapter that is joined with the U-Net it is made for."""
    adapter = ControlNetXSAdapter.from_unet(
        unet, block_out_channels=[2, 4], conditioning_embedding_out_channels=(2, 4), learn_time_embedding=True
    )
    return models.randomised(adapter, 30)


def adapter(kind: str, seed: int = 30) -> T2IAdapter:
    model = T2IAdapter(channels=[4, 8], num_res_blocks=1, downscale_factor=4, adapter_type=kind)
    return models.randomised(model, seed)


@family("stable-diffusion-controlnet")
def text_to_image() -> StableDiffusionControlNetPipeline:
    return StableDiffusionControlNetPipeline(**controlnet_parts())


@family("stable-diffusion-controlnet-two")
def two_controlnets() -> StableDiffusionControlNetPipeline:
    """Build a pipeline whose ControlNets are saved side by side in one component."""
    pair = [unet_models.controlnet(seed=30), unet_models.controlnet(seed=35, conditioning_channels=1)]
    return StableDiffusionControlNetPipeline(**stable_diffusion_parts(controlnet=pair))


@family("stable-diffusion-controlnet-img2img")
def image_to_image() -> StableDiffusionControlNetImg2ImgPipeline:
    return StableDiffusionControlNetImg2ImgPipeline(**controlnet_parts())


@family("stable-diffusion-controlnet-inpaint")
def inpaint() -> StableDiffusionControlNetInpaintPipeline:
    return StableDiffusionControlNetInpaintPipeline(**controlnet_parts())


@family("stable-diffusion-controlnet-xs")
def xs() -> StableDiffusionControlNetXSPipeline:
    unet = models.unet(layers_per_block=2)
    return StableDiffusionControlNetXSPipeline(**stable_diffusion_parts(unet=unet, controlnet=controlnet_xs(unet)))


@family("stable-diffusion-adapter")
def adapter_full() -> StableDiffusionAdapterPipeline:
    return StableDiffusionAdapterPipeline(**stable_diffusion_parts(adapter=adapter("full_adapter")))


@family("stable-diffusion-adapter-light")
def adapter_light() -> StableDiffusionAdapterPipeline:
    return StableDiffusionAdapterPipeline(**stable_diffusion_parts(adapter=adapter("light_adapter")))


@family("stable-diffusion-adapter-two")
def two_adapters() -> StableDiffusionAdapterPipeline:
    """Build a pipeline whose adapters are saved side by side in one component."""
    pair = MultiAdapter([adapter("full_adapter", seed=30), adapter("full_adapter", seed=35)])
    return StableDiffusionAdapterPipeline(**stable_diffusion_parts(adapter=pair))


@family("stable-diffusion-xl-controlnet")
def text_to_image_xl() -> StableDiffusionXLControlNetPipeline:
    return StableDiffusionXLControlNetPipeline(**controlnet_xl_parts())


@family("stable-diffusion-xl-controlnet-two")
def two_controlnets_xl() -> StableDiffusionXLControlNetPipeline:
    pair = [unet_models.controlnet(seed=seed, **unet_models.XL_CONDITIONED) for seed in (30, 35)]
    return StableDiffusionXLControlNetPipeline(**stable_diffusion_xl_parts(controlnet=pair))


@family("stable-diffusion-xl-controlnet-img2img")
def image_to_image_xl() -> StableDiffusionXLControlNetImg2ImgPipeline:
    return StableDiffusionXLControlNetImg2ImgPipeline(**controlnet_xl_parts())


@family("stable-diffusion-xl-controlnet-inpaint")
def inpaint_xl() -> StableDiffusionXLControlNetInpaintPipeline:
    return StableDiffusionXLControlNetInpaintPipeline(**controlnet_xl_parts())


@family("stable-diffusion-xl-controlnet-union")
def union() -> StableDiffusionXLControlNetUnionPipeline:
    return StableDiffusionXLControlNetUnionPipeline(**union_parts())


@family("stable-diffusion-xl-controlnet-union-img2img")
def union_image_to_image() -> StableDiffusionXLControlNetUnionImg2ImgPipeline:
    return StableDiffusionXLControlNetUnionImg2ImgPipeline(**union_parts())


@family("stable-diffusion-xl-controlnet-union-inpaint")
def union_inpaint() -> StableDiffusionXLControlNetUnionInpaintPipeline:
    return StableDiffusionXLControlNetUnionInpaintPipeline(**union_parts())


@family("stable-diffusion-xl-controlnet-xs")
def xs_xl() -> StableDiffusionXLControlNetXSPipeline:
    unet = unet_models.unet_xl(layers_per_block=2)
    return StableDiffusionXLControlNetXSPipeline(**stable_diffusion_xl_parts(unet=unet, controlnet=controlnet_xs(unet)))


@family("stable-diffusion-xl-adapter")
def adapter_xl() -> StableDiffusionXLAdapterPipeline:
    return StableDiffusionXLAdapterPipeline(**stable_diffusion_xl_parts(adapter=adapter("full_adapter_xl")))
