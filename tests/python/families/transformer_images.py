"""Image pipelines of a transformer behind T5, CLIP, BERT, Gemma or Qwen: AuraFlow, HiDream, PixArt, Sana and others."""

from __future__ import annotations

import functools

from support import language_models, models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import Parts, Table

FLOW = Part("FlowMatchEulerDiscreteScheduler")
FLOW_3 = {"scheduler": FLOW.but(shift=3.0)}
T5: Parts = {"text_encoder": models.t5_encoder, "tokenizer": t5_tokenizer}

# AuraFlow: a multilingual T5 encoder, and a transformer with registers.
AURA_FLOW: Parts = {
    "tokenizer": language_models.llama_tokenizer,
    "text_encoder": models.umt5_encoder,
    "vae": models.vae,
    "transformer": Part(
        "AuraFlowTransformer2DModel",
        sample_size=8,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=8,
        caption_projection_dim=8,
        pos_embed_max_size=16,
    ),
    "scheduler": FLOW.but(shift=1.73),
}

# CogView 3 Plus and CogView 4.
COGVIEW_3: Parts = {
    **T5,
    "vae": models.vae,
    "transformer": Part(
        "CogView3PlusTransformer2DModel",
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        text_embed_dim=8,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=8,
        sample_size=8,
    ),
    "scheduler": Part("CogVideoXDDIMScheduler", prediction_type="v_prediction", rescale_betas_zero_snr=True),
}
COGVIEW_4_TRANSFORMER = Part(
    "CogView4Transformer2DModel",
    in_channels=4,
    out_channels=4,
    num_layers=1,
    attention_head_dim=4,
    num_attention_heads=2,
    text_embed_dim=8,
    time_embed_dim=8,
    condition_dim=2,
    rope_axes_dim=(8, 8),
)
COGVIEW_4: Parts = {
    "tokenizer": functools.partial(language_models.fast_tokenizer, ("<|endoftext|>", "[gMASK]", "<sop>")),
    "text_encoder": language_models.glm,
    "vae": models.vae,
    "transformer": COGVIEW_4_TRANSFORMER,
    "scheduler": FLOW.but(base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True),
}

# HiDream: four text encoders, the last a Llama, and a transformer with a mixture of experts, whose hidden layers are
# 256 wide at the least.
HIDREAM: Parts = {
    "scheduler": Part(
        "UniPCMultistepScheduler",
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=3.0,
        final_sigmas_type="zero",
    ),
    "vae": models.vae,
    "text_encoder": models.clip_text_model_with_projection,
    "tokenizer": clip_tokenizer,
    **unet_models.SECOND_TEXT_ENCODER,
    "text_encoder_3": models.t5_encoder,
    "tokenizer_3": t5_tokenizer,
    "text_encoder_4": language_models.llama_causal.but(num_hidden_layers=2),
    "tokenizer_4": language_models.fast_tokenizer,
    "transformer": Part(
        "HiDreamImageTransformer2DModel",
        patch_size=2,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        caption_channels=[8, 8],
        text_emb_dim=16,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(2, 2),
        max_resolution=(8, 8),
        llama_layers=[0, 1],
    ),
}

# HunyuanDiT: a BERT and a T5 encoder, and a transformer of three blocks: the last takes what the first one gave, past
# the middle one.
HUNYUAN_DIT_TRANSFORMER = Part(
    "HunyuanDiT2DModel",
    sample_size=8,
    patch_size=2,
    in_channels=4,
    attention_head_dim=4,
    num_attention_heads=2,
    hidden_size=8,
    cross_attention_dim=8,
    cross_attention_dim_t5=8,
    pooled_projection_dim=8,
    text_len=16,
    text_len_t5=16,
)
HUNYUAN_DIT: Parts = {
    "vae": models.vae,
    "text_encoder": language_models.bert,
    "tokenizer": language_models.bert_tokenizer,
    "text_encoder_2": models.t5_encoder,
    "tokenizer_2": t5_tokenizer,
    "transformer": HUNYUAN_DIT_TRANSFORMER.but(num_layers=3),
    "scheduler": Part("DDPMScheduler", prediction_type="v_prediction"),
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}
CHECKED: Parts = {
    "safety_checker": models.safety_checker,
    "feature_extractor": unet_models.clip_image_processor,
    "requires_safety_checker": True,
}
# The transformer of version 1.2 takes neither the style nor the image's size.
HUNYUAN_DIT_1_2 = {"transformer": HUNYUAN_DIT_TRANSFORMER.but(num_layers=3, use_style_cond_and_image_meta_size=False)}
HUNYUAN_DIT_CONTROLNET = {
    "controlnet": HUNYUAN_DIT_TRANSFORMER.of("HunyuanDiT2DControlNetModel", transformer_num_layers=4)
}

# Lumina and Lumina 2: a Gemma as the text encoder, of the generation that the pipeline's is.
LUMINA: Parts = {
    "transformer": Part(
        "LuminaNextDiT2DModel",
        sample_size=8,
        in_channels=4,
        hidden_size=8,
        num_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        cross_attention_dim=8,
    ),
    "scheduler": FLOW,
    "vae": models.vae,
    "text_encoder": language_models.gemma,
    "tokenizer": language_models.gemma_tokenizer,
}
LUMINA_2: Parts = {
    **LUMINA,
    "transformer": Part(
        "Lumina2Transformer2DModel",
        sample_size=8,
        in_channels=4,
        hidden_size=12,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(2, 2, 2),
        axes_lens=(8, 8, 8),
        cap_feat_dim=8,
    ),
    "scheduler": FLOW.but(shift=6.0),
    "text_encoder": language_models.gemma2,
}

# PixArt: a transformer of two blocks: the second is the one that perturbed attention is applied to.
PIXART_TRANSFORMER = Part(
    "PixArtTransformer2DModel",
    sample_size=8,
    num_layers=2,
    in_channels=4,
    out_channels=8,
    attention_head_dim=6,
    num_attention_heads=2,
    caption_channels=8,
    cross_attention_dim=12,
    use_additional_conditions=False,
)
PIXART: Parts = {
    **T5,
    "vae": models.vae,
    "transformer": PIXART_TRANSFORMER,
    "scheduler": Part("DPMSolverMultistepScheduler"),
}
# The large PixArt alpha also takes the image's size and its aspect.
PIXART_SIZE = {"transformer": PIXART_TRANSFORMER.but(sample_size=128, use_additional_conditions=True)}
WITHOUT_TEXT = {"tokenizer": None, "text_encoder": None}

# Sana: a Gemma 2, a transformer with linear attention and a deep compression autoencoder.
DEEP_COMPRESSION = Part(
    "AutoencoderDC",
    latent_channels=4,
    attention_head_dim=2,
    encoder_block_types=("ResBlock", "EfficientViTBlock"),
    decoder_block_types=("ResBlock", "EfficientViTBlock"),
    encoder_block_out_channels=(8, 8),
    decoder_block_out_channels=(8, 8),
    encoder_layers_per_block=(1, 1),
    decoder_layers_per_block=(1, 1),
    encoder_qkv_multiscales=((), (5,)),
    decoder_qkv_multiscales=((), (5,)),
    upsample_block_type="interpolate",
    downsample_block_type="stride_conv",
    decoder_norm_types="rms_norm",
    decoder_act_fns="silu",
    scaling_factor=0.41407,
)
SANA_TRANSFORMER = Part(
    "SanaTransformer2DModel",
    in_channels=4,
    out_channels=4,
    num_layers=1,
    attention_head_dim=4,
    num_attention_heads=2,
    cross_attention_head_dim=4,
    num_cross_attention_heads=2,
    cross_attention_dim=8,
    caption_channels=8,
    sample_size=8,
)
SANA: Parts = {
    "tokenizer": language_models.gemma_tokenizer,
    "text_encoder": language_models.gemma2,
    "vae": DEEP_COMPRESSION,
    "transformer": SANA_TRANSFORMER,
    "scheduler": Part(
        "DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
}
# The transformer of the distilled pipeline has normalised queries and takes the guidance.
SPRINT: Parts = {
    "transformer": SANA_TRANSFORMER.but(guidance_embeds=True, qk_norm="rms_norm_across_heads"),
    "scheduler": Part("SCMScheduler"),
}

# Z-Image: a Qwen 3 as the text encoder, and controlnets that share modules with the transformer.
Z_TRANSFORMER = Part(
    "ZImageTransformer2DModel",
    dim=12,
    n_refiner_layers=1,
    n_heads=2,
    n_kv_heads=2,
    in_channels=4,
    n_layers=1,
    cap_feat_dim=8,
    axes_dims=[2, 2, 2],
    axes_lens=[8, 8, 8],
)
Z_CONTROLNET = Part(
    "ZImageControlNetModel",
    dim=12,
    n_refiner_layers=1,
    n_heads=2,
    n_kv_heads=2,
    control_layers_places=[0],
    control_in_dim=4,
)
Z_IMAGE: Parts = {
    **FLOW_3,
    "vae": models.vae,
    "text_encoder": language_models.qwen3,
    "tokenizer": language_models.qwen_tokenizer,
    "transformer": Z_TRANSFORMER,
}
Z_OMNI: Parts = {
    "transformer": Z_TRANSFORMER.but(siglip_feat_dim=8),
    "siglip": Part("Siglip2VisionModel", **models.SMALL, num_patches=4, patch_size=4),
    "siglip_processor": Part("Siglip2ImageProcessor", patch_size=4, max_num_patches=4),
}
Z_REFINING = {
    "controlnet": Z_CONTROLNET.but(
        control_in_dim=9, add_control_noise_refiner="control_noise_refiner", control_refiner_layers_places=[0]
    )
}

FAMILIES: Table = {
    "aura-flow": ("AuraFlowPipeline", AURA_FLOW),
    "cogview-3-plus": ("CogView3PlusPipeline", COGVIEW_3),
    "cogview-4": ("CogView4Pipeline", COGVIEW_4),
    "cogview-4-control": (
        "CogView4ControlPipeline",
        COGVIEW_4,
        {"transformer": COGVIEW_4_TRANSFORMER.but(in_channels=8)},
    ),
    "hidream": ("HiDreamImagePipeline", HIDREAM),
    "hunyuan-dit": ("HunyuanDiTPipeline", HUNYUAN_DIT),
    "hunyuan-dit-pag": ("HunyuanDiTPAGPipeline", HUNYUAN_DIT),
    "hunyuan-dit-safety-checker": ("HunyuanDiTPipeline", HUNYUAN_DIT, CHECKED),
    "hunyuan-dit-1.2": ("HunyuanDiTPipeline", HUNYUAN_DIT, HUNYUAN_DIT_1_2),
    "hunyuan-dit-controlnet": ("HunyuanDiTControlNetPipeline", HUNYUAN_DIT, HUNYUAN_DIT_CONTROLNET),
    "lumina": ("LuminaPipeline", LUMINA),
    "lumina-2": ("Lumina2Pipeline", LUMINA_2),
    "pixart-alpha": ("PixArtAlphaPipeline", PIXART),
    "pixart-sigma": ("PixArtSigmaPipeline", PIXART),
    "pixart-alpha-image-size": ("PixArtAlphaPipeline", PIXART, PIXART_SIZE),
    "pixart-sigma-without-text": ("PixArtSigmaPipeline", PIXART, WITHOUT_TEXT),
    "sana": ("SanaPipeline", SANA),
    "sana-controlnet": ("SanaControlNetPipeline", SANA, {"controlnet": SANA_TRANSFORMER.of("SanaControlNetModel")}),
    "sana-sprint": ("SanaSprintPipeline", SANA, SPRINT),
    "sana-sprint-img2img": ("SanaSprintImg2ImgPipeline", SANA, SPRINT),
    "sana-pag": ("SanaPAGPipeline", SANA, FLOW_3),
    "z-image": ("ZImagePipeline", Z_IMAGE),
    "z-image-img2img": ("ZImageImg2ImgPipeline", Z_IMAGE),
    "z-image-inpaint": ("ZImageInpaintPipeline", Z_IMAGE),
    "z-image-omni": ("ZImageOmniPipeline", Z_IMAGE, Z_OMNI),
    "z-image-controlnet": ("ZImageControlNetPipeline", Z_IMAGE, {"controlnet": Z_CONTROLNET}),
    "z-image-controlnet-inpaint": ("ZImageControlNetInpaintPipeline", Z_IMAGE, Z_REFINING),
}
