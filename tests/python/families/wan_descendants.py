"""Pipelines built upon Wan's models: AnyFlow, ChronoEdit, Helios and Lucy Edit."""

from __future__ import annotations

from diffusers import (
    AnyFlowFARPipeline,
    AnyFlowFARTransformer3DModel,
    AnyFlowPipeline,
    AnyFlowTransformer3DModel,
    ChronoEditPipeline,
    ChronoEditTransformer3DModel,
    FlowMapEulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeliosDMDScheduler,
    HeliosPipeline,
    HeliosPyramidPipeline,
    HeliosScheduler,
    HeliosTransformer3DModel,
    LucyEditPipeline,
)

from support import video_models

from . import wan
from .registry import family


def helios_transformer() -> HeliosTransformer3DModel:
    settings = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 8,
        "freq_dim": 8,
        "ffn_dim": 16,
        "num_layers": 2,
        "rope_dim": (4, 4, 4),
        "is_amplify_history": True,
    }
    return video_models.randomised(HeliosTransformer3DModel(**settings), seed=40)


@family("anyflow")
def anyflow() -> AnyFlowPipeline:
    transformer = video_models.wan_transformer(kind=AnyFlowTransformer3DModel)
    return AnyFlowPipeline(**wan.parts(transformer=transformer, scheduler=FlowMapEulerDiscreteScheduler()))


@family("anyflow-far")
def anyflow_far() -> AnyFlowFARPipeline:
    transformer = video_models.wan_transformer(kind=AnyFlowFARTransformer3DModel, chunk_partition=(1, 1, 1))
    return AnyFlowFARPipeline(**wan.parts(transformer=transformer, scheduler=FlowMapEulerDiscreteScheduler()))


@family("chrono-edit")
def chrono_edit() -> ChronoEditPipeline:
    transformer = video_models.wan_transformer(
        kind=ChronoEditTransformer3DModel, in_channels=12, image_dim=8, added_kv_proj_dim=24
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    return ChronoEditPipeline(**wan.parts(**wan.clip_image_parts(), transformer=transformer, scheduler=scheduler))


@family("helios")
def helios() -> HeliosPipeline:
    return HeliosPipeline(**wan.parts(transformer=helios_transformer(), scheduler=HeliosScheduler(stages=1)))


@family("helios-pyramid")
def helios_pyramid() -> HeliosPyramidPipeline:
    return HeliosPyramidPipeline(
        **wan.parts(transformer=helios_transformer(), scheduler=HeliosDMDScheduler()), is_distilled=True
    )


@family("lucy-edit")
def lucy_edit() -> LucyEditPipeline:
    return LucyEditPipeline(
        **wan.parts(vae=video_models.wan_vae_2_2(), transformer=video_models.wan_transformer(in_channels=8)),
        expand_timesteps=True,
    )
