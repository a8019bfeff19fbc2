"""AuraFlow: a multilingual T5 encoder, and a transformer with registers."""

from __future__ import annotations

from diffusers import AuraFlowPipeline, FlowMatchEulerDiscreteScheduler

from support import language_models, models, transformer_models

from .registry import family


@family("aura-flow")
def aura_flow() -> AuraFlowPipeline:
    return AuraFlowPipeline(
        tokenizer=language_models.llama_tokenizer(),
        text_encoder=models.umt5_encoder(),
        vae=models.vae(),
        transformer=transformer_models.aura_flow_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )
