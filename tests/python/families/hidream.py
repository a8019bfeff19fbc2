"""HiDream: four text encoders, the last a Llama, and a transformer with a mixture of experts."""

from __future__ import annotations

from diffusers import HiDreamImagePipeline, UniPCMultistepScheduler

from support import language_models, models, transformer_models
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import family


@family("hidream")
def hidream() -> HiDreamImagePipeline:
    return HiDreamImagePipeline(
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
        ),
        vae=models.vae(),
        text_encoder=models.clip_text_model_with_projection(seed=20),
        tokenizer=clip_tokenizer(),
        text_encoder_2=models.clip_text_model_with_projection(seed=21),
        tokenizer_2=clip_tokenizer(pad_token="a"),
        text_encoder_3=models.t5_encoder(),
        tokenizer_3=t5_tokenizer(),
        text_encoder_4=language_models.llama_causal(layers=2),
        tokenizer_4=language_models.fast_tokenizer(),
        transformer=transformer_models.hidream_transformer(),
    )
