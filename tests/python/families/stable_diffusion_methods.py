"""Pipelines that take Stable Diffusion's own components, and differ in what they do with them."""

from __future__ import annotations

from diffusers import (
    CycleDiffusionPipeline,
    DDIMInverseScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LEditsPPPipelineStableDiffusion,
    LEditsPPPipelineStableDiffusionXL,
    SemanticStableDiffusionPipeline,
    StableDiffusionAttendAndExcitePipeline,
    StableDiffusionInpaintPipelineLegacy,
    StableDiffusionModelEditingPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionParadigmsPipeline,
    StableDiffusionPix2PixZeroPipeline,
    StableDiffusionSAGPipeline,
)

from .registry import family
from .stable_diffusion import stable_diffusion_parts
from .stable_diffusion_xl import stable_diffusion_xl_parts


@family("stable-diffusion-attend-and-excite")
def attend_and_excite() -> StableDiffusionAttendAndExcitePipeline:
    return StableDiffusionAttendAndExcitePipeline(**stable_diffusion_parts())


@family("stable-diffusion-panorama")
def panorama() -> StableDiffusionPanoramaPipeline:
    return StableDiffusionPanoramaPipeline(
        **stable_diffusion_parts(scheduler=DDIMScheduler(steps_offset=1, clip_sample=False))
    )


@family("stable-diffusion-sag")
def self_attention_guidance() -> StableDiffusionSAGPipeline:
    return StableDiffusionSAGPipeline(**stable_diffusion_parts())


@family("stable-diffusion-ledits-pp")
def ledits() -> LEditsPPPipelineStableDiffusion:
    scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", steps_offset=1)
    return LEditsPPPipelineStableDiffusion(**stable_diffusion_parts(scheduler=scheduler))


@family("stable-diffusion-xl-ledits-pp")
def ledits_xl() -> LEditsPPPipelineStableDiffusionXL:
    scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", steps_offset=1)
    return LEditsPPPipelineStableDiffusionXL(**stable_diffusion_xl_parts(scheduler=scheduler))


@family("semantic-stable-diffusion")
def semantic() -> SemanticStableDiffusionPipeline:
    return SemanticStableDiffusionPipeline(**stable_diffusion_parts())


@family("cycle-diffusion")
def cycle() -> CycleDiffusionPipeline:
    return CycleDiffusionPipeline(**stable_diffusion_parts(scheduler=DDIMScheduler(steps_offset=1, clip_sample=False)))


@family("stable-diffusion-pix2pix-zero")
def pix2pix_zero() -> StableDiffusionPix2PixZeroPipeline:
    return StableDiffusionPix2PixZeroPipeline(
        **stable_diffusion_parts(scheduler=DDIMScheduler(steps_offset=1, clip_sample=False)),
        inverse_scheduler=DDIMInverseScheduler(),
        caption_generator=None,
        caption_processor=None,
    )


@family("stable-diffusion-model-editing")
def model_editing() -> StableDiffusionModelEditingPipeline:
    return StableDiffusionModelEditingPipeline(**stable_diffusion_parts(), with_augs=["A photo of "])


@family("stable-diffusion-paradigms")
def paradigms() -> StableDiffusionParadigmsPipeline:
    return StableDiffusionParadigmsPipeline(**stable_diffusion_parts())


@family("stable-diffusion-inpaint-legacy")
def inpaint_legacy() -> StableDiffusionInpaintPipelineLegacy:
    return StableDiffusionInpaintPipelineLegacy(**stable_diffusion_parts())
