"""Image pipelines of their own kind: latent diffusion from text, aMUSEd, and Shap-E, which makes shapes."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AmusedImg2ImgPipeline,
    AmusedInpaintPipeline,
    AmusedPipeline,
    AmusedScheduler,
    DDIMScheduler,
    HeunDiscreteScheduler,
    LDMTextToImagePipeline,
    PriorTransformer,
    ShapEImg2ImgPipeline,
    ShapEPipeline,
    UVit2DModel,
)
from diffusers.pipelines.latent_diffusion import LDMBertModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig
from diffusers.pipelines.shap_e import ShapERenderer

from support import models, unet_models
from support.tokenizers import CLIP_VOCABULARY, clip_tokenizer

from .registry import family


def ldm_bert(seed: int = 80) -> LDMBertModel:
    config = LDMBertConfig(
        vocab_size=CLIP_VOCABULARY,
        max_position_embeddings=16,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        head_dim=4,
        d_model=8,
    )
    return models.randomised(LDMBertModel(config), seed)


@family("latent-diffusion-text-to-image")
def latent_diffusion() -> LDMTextToImagePipeline:
    return LDMTextToImagePipeline(
        vqvae=models.vae(),
        bert=ldm_bert(),
        tokenizer=clip_tokenizer(),
        unet=models.unet(),
        scheduler=DDIMScheduler(),
    )


def amused_parts() -> dict[str, Any]:
    """Return the components of aMUSEd, whose transformer predicts the codes of a quantised autoencoder."""
    transformer = UVit2DModel(
        hidden_size=8,
        cond_embed_dim=8,
        micro_cond_encode_dim=4,
        micro_cond_embed_dim=20,
        encoder_hidden_size=8,
        vocab_size=12,
        codebook_size=8,
        in_channels=8,
        block_out_channels=8,
        num_res_blocks=1,
        downsample=True,
        upsample=True,
        block_num_heads=2,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        sample_size=8,
    )
    return {
        "vqvae": unet_models.vq_model(mid_block_add_attention=False, lookup_from_codebook=True),
        "tokenizer": clip_tokenizer(),
        "text_encoder": models.clip_text_model_with_projection(),
        "transformer": models.randomised(transformer, 81),
        "scheduler": AmusedScheduler(mask_token_id=11),
    }


@family("amused")
def amused() -> AmusedPipeline:
    return AmusedPipeline(**amused_parts())


@family("amused-img2img")
def amused_image_to_image() -> AmusedImg2ImgPipeline:
    return AmusedImg2ImgPipeline(**amused_parts())


@family("amused-inpaint")
def amused_inpaint() -> AmusedInpaintPipeline:
    return AmusedInpaintPipeline(**amused_parts())


def shape_prior(**options: Any) -> PriorTransformer:
    """Return a prior that predicts the latent of a shape, so that its dimensions are not the text's."""
    return unet_models.prior_transformer(
        embedding_dim=8,
        num_embeddings=4,
        additional_embeddings=0,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
        time_embed_dim=16,
        embedding_proj_dim=8,
        clip_embed_dim=16,
        **options,
    )


def shape_renderer(seed: int = 82) -> ShapERenderer:
    """Return a model with buffers of several dtypes."""
    model = ShapERenderer(
        param_names=("nerstf.mlp.0.weight", "nerstf.mlp.1.weight"),
        param_shapes=((8, 93), (8, 8)),
        d_latent=8,
        d_hidden=8,
        n_hidden_layers=2,
        insert_direction_at=1,
    )
    return models.randomised(model, seed)


def shape_scheduler() -> HeunDiscreteScheduler:
    return HeunDiscreteScheduler(
        beta_schedule="exp", prediction_type="sample", use_karras_sigmas=True, clip_sample=True
    )


@family("shap-e")
def shape_from_text() -> ShapEPipeline:
    return ShapEPipeline(
        prior=shape_prior(),
        text_encoder=models.clip_text_model_with_projection(),
        tokenizer=clip_tokenizer(),
        scheduler=shape_scheduler(),
        shap_e_renderer=shape_renderer(),
    )


@family("shap-e-img2img")
def shape_from_image() -> ShapEImg2ImgPipeline:
    """Build a pipeline whose prior normalises the image's embeddings."""
    return ShapEImg2ImgPipeline(
        prior=shape_prior(embedding_proj_norm_type="layer"),
        image_encoder=unet_models.clip_vision_model(),
        image_processor=unet_models.clip_image_processor(),
        scheduler=shape_scheduler(),
        shap_e_renderer=shape_renderer(),
    )
