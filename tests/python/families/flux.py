"""Flux: a CLIP encoder, a T5 encoder and a transformer with double and single blocks; Flux 2, and Chroma."""

from __future__ import annotations

from support import language_models, models, unet_models, vision_language_models
from support.parts import Part
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import Parts, Table

TEXT: Parts = {
    "text_encoder": models.clip_text_model,
    "tokenizer": clip_tokenizer,
    "text_encoder_2": models.t5_encoder,
    "tokenizer_2": t5_tokenizer,
}
COMMON: Parts = {
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
    "vae": models.flux_vae,
    **TEXT,
    "transformer": models.flux_transformer,
}

# The distilled models take the guidance as an input; some an image's latents too, concatenated to it, and a mask.
GUIDANCE = models.flux_transformer.but(guidance_embeds=True)
WIDE_INPUT = {"transformer": GUIDANCE.but(in_channels=8, out_channels=4)}
MASK = {"transformer": GUIDANCE.but(in_channels=20, out_channels=4)}

CONTROLNET = models.flux_transformer.of("FluxControlNetModel")

REDUX: Parts = {
    **unet_models.SIGLIP_ENCODER,
    "image_embedder": Part("diffusers.pipelines.flux.modeling_flux.ReduxImageEncoder", redux_dim=8, txt_in_features=8),
}

# Flux 2 has a language model's hidden states, and an autoencoder whose batch norm has statistics in its file.
TWO: Parts = {
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True),
    "vae": models.vae_with_statistics,
    "text_encoder": vision_language_models.mistral3,
    "tokenizer": vision_language_models.pixtral_processor,
    "transformer": Part(
        "Flux2Transformer2DModel",
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_guidance_channels=8,
        axes_dims_rope=(2, 2, 2, 2),
    ),
}
KLEIN: Parts = {
    **TWO,
    "text_encoder": language_models.qwen3_causal.but(num_hidden_layers=3),
    "tokenizer": language_models.qwen_tokenizer,
    "transformer": TWO["transformer"].but(guidance_embeds=False),
}
DISTILLED = {"is_distilled": True}

# Chroma is Flux without its CLIP encoder, and with one network that makes every block's modulation.
CHROMA: Parts = {
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", use_beta_sigmas=False, shift=1.0),
    "vae": models.flux_vae,
    "text_encoder": models.t5_encoder,
    "tokenizer": t5_tokenizer,
    "transformer": Part(
        "ChromaTransformer2DModel",
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        axes_dims_rope=(2, 2, 4),
        approximator_num_channels=8,
        approximator_hidden_dim=8,
        approximator_layers=1,
    ),
}

FAMILIES: Table = {
    "flux": ("FluxPipeline", COMMON),
    "flux-img2img": ("FluxImg2ImgPipeline", COMMON),
    "flux-inpaint": ("FluxInpaintPipeline", COMMON),
    "flux-kontext": ("FluxKontextPipeline", COMMON),
    "flux-kontext-inpaint": ("FluxKontextInpaintPipeline", COMMON),
    "visual-cloze": ("VisualClozePipeline", COMMON),
    "visual-cloze-generation": ("VisualClozeGenerationPipeline", COMMON),
    "flux-guidance": ("FluxPipeline", COMMON, {"transformer": GUIDANCE}),
    "flux-image-encoder": ("FluxPipeline", COMMON, unet_models.IMAGE_ENCODER),
    "flux-control": ("FluxControlPipeline", COMMON, WIDE_INPUT),
    "flux-control-img2img": ("FluxControlImg2ImgPipeline", COMMON, WIDE_INPUT),
    "flux-control-inpaint": ("FluxControlInpaintPipeline", COMMON, WIDE_INPUT),
    "flux-fill": ("FluxFillPipeline", COMMON, MASK),
    "flux-controlnet": ("FluxControlNetPipeline", COMMON, {"controlnet": CONTROLNET}),
    "flux-controlnet-img2img": ("FluxControlNetImg2ImgPipeline", COMMON, {"controlnet": CONTROLNET}),
    "flux-controlnet-inpaint": ("FluxControlNetInpaintPipeline", COMMON, {"controlnet": CONTROLNET}),
    # A controlnet of several modes has an embedding for each.
    "flux-union-controlnet": ("FluxControlNetPipeline", COMMON, {"controlnet": CONTROLNET.but(num_mode=2)}),
    "flux-prior-redux": ("FluxPriorReduxPipeline", REDUX, TEXT),
    "flux-prior-redux-without-text": ("FluxPriorReduxPipeline", REDUX),
    "flux-2": ("Flux2Pipeline", TWO),
    "flux-2-klein-base": ("Flux2KleinPipeline", KLEIN),
    "flux-2-klein-inpaint": ("Flux2KleinInpaintPipeline", KLEIN),
    "flux-2-klein": ("Flux2KleinPipeline", KLEIN, DISTILLED),
    "flux-2-klein-key-values": ("Flux2KleinKVPipeline", KLEIN, DISTILLED),
    "chroma": ("ChromaPipeline", CHROMA),
    "chroma-img2img": ("ChromaImg2ImgPipeline", CHROMA),
    "chroma-inpaint": ("ChromaInpaintPipeline", CHROMA),
    "chroma-image-encoder": ("ChromaPipeline", CHROMA, unet_models.IMAGE_ENCODER),
}
