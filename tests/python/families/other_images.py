"""Image pipelines of their own kind: latent diffusion from text, aMUSEd, Shap-E, Cascade, UniDiffuser and Versatile."""

from __future__ import annotations

from typing import Any

import torch

from support import models, unet_models
from support.parts import Part
from support.tokenizers import CLIP_VOCABULARY, clip_tokenizer

from .registry import Parts, Table

DDIM = {"scheduler": Part("DDIMScheduler")}

LATENT_DIFFUSION: Parts = {
    "vqvae": models.vae,
    "bert": Part(
        "diffusers.pipelines.latent_diffusion.LDMBertModel",
        vocab_size=CLIP_VOCABULARY,
        max_position_embeddings=16,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        head_dim=4,
        d_model=8,
    ),
    "tokenizer": clip_tokenizer,
    "unet": models.unet,
    **DDIM,
}

# aMUSEd's transformer predicts the codes of a quantised autoencoder.
AMUSED: Parts = {
    "vqvae": unet_models.vq_model.but(mid_block_add_attention=False, lookup_from_codebook=True),
    "tokenizer": clip_tokenizer,
    "text_encoder": models.clip_text_model_with_projection,
    "transformer": Part(
        "UVit2DModel",
        **models.SMALL,
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
        sample_size=8,
    ),
    "scheduler": Part("AmusedScheduler", mask_token_id=11),
}

# A prior that predicts the latent of a shape, so that its dimensions are not the text's.
SHAPE_PRIOR = unet_models.prior_transformer.but(
    num_embeddings=4,
    additional_embeddings=0,
    time_embed_act_fn="gelu",
    norm_in_type="layer",
    encoder_hid_proj_type=None,
    added_emb_type=None,
    time_embed_dim=16,
    embedding_proj_dim=8,
    clip_embed_dim=16,
)
# The renderer has buffers of several dtypes.
SHAPE: Parts = {
    "prior": SHAPE_PRIOR,
    "scheduler": Part(
        "HeunDiscreteScheduler",
        beta_schedule="exp",
        prediction_type="sample",
        use_karras_sigmas=True,
        clip_sample=True,
    ),
    "shap_e_renderer": Part(
        "diffusers.pipelines.shap_e.ShapERenderer",
        param_names=("nerstf.mlp.0.weight", "nerstf.mlp.1.weight"),
        param_shapes=((8, 93), (8, 8)),
        d_latent=8,
        d_hidden=8,
        n_hidden_layers=2,
        insert_direction_at=1,
    ),
}
SHAPE_FROM_TEXT: Parts = {"text_encoder": models.clip_text_model_with_projection, "tokenizer": clip_tokenizer}
# The prior normalises the image's embeddings.
SHAPE_FROM_IMAGE: Parts = {
    "prior": SHAPE_PRIOR.but(embedding_proj_norm_type="layer"),
    "image_encoder": unet_models.clip_vision_model,
    "image_processor": unet_models.clip_image_processor,
}

# Stable Cascade's prior has convolutions between the repeats of its last blocks. diffusers cannot load the decoder's
# pipeline: it saves the index with a class it lacks.
CASCADE_BLOCKS = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")
CASCADE_UNET = Part(
    "StableCascadeUNet",
    in_channels=4,
    out_channels=4,
    timestep_ratio_embedding_dim=4,
    conditioning_dim=8,
    block_out_channels=(4, 8),
    num_attention_heads=(1, 2),
    down_num_layers_per_block=(1, 1),
    up_num_layers_per_block=(1, 1),
    up_blocks_repeat_mappers=(2, 2),
    block_types_per_layer=(CASCADE_BLOCKS, CASCADE_BLOCKS),
    clip_text_in_channels=8,
    clip_text_pooled_in_channels=8,
    clip_image_in_channels=8,
    clip_seq=2,
    switch_level=(False,),
)
CASCADE: Parts = {
    "tokenizer": clip_tokenizer,
    "text_encoder": models.clip_text_model_with_projection,
    "prior": CASCADE_UNET,
    "scheduler": Part("DDPMWuerstchenScheduler"),
    **unet_models.IMAGE_ENCODER,
}


def _untie(model: Any) -> None:
    """Make the tied head a tensor of its own: diffusers cannot save tied tensors as safetensors."""
    head = model.transformer.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())


# Its text decoder is a model of diffusers around one of transformers.
UNIDIFFUSER: Parts = {
    "vae": models.vae,
    "text_encoder": models.clip_text_model,
    "image_encoder": unet_models.clip_vision_model_with_projection,
    "clip_image_processor": unet_models.clip_image_processor,
    "clip_tokenizer": clip_tokenizer,
    "text_decoder": Part(
        "UniDiffuserTextDecoder",
        prefix_length=77,
        prefix_inner_dim=8,
        prefix_hidden_dim=8,
        vocab_size=CLIP_VOCABULARY,
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=2,
    ).then(_untie),
    "text_tokenizer": Part("GPT2Tokenizer", vocab={"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, merges=[("a", "b")]),
    "unet": Part(
        "UniDiffuserModel",
        text_dim=8,
        clip_img_dim=8,
        num_text_tokens=77,
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        norm_num_groups=2,
        sample_size=8,
        patch_size=2,
        block_type="unidiffuser",
        use_timestep_embedding=True,
        use_data_type_embedding=True,
        norm_type="layer_norm",
        num_embeds_ada_norm=10,
    ),
    **DDIM,
}

# Versatile Diffusion's pipelines are as they are once they have merged their U-Nets.
VERSATILE: Parts = {"image_unet": models.unet, "vae": models.vae, **DDIM}
FROM_IMAGE: Parts = {
    "image_feature_extractor": unet_models.clip_image_processor,
    "image_encoder": unet_models.clip_vision_model_with_projection,
}
FROM_TEXT: Parts = {
    "tokenizer": clip_tokenizer,
    "text_encoder": models.clip_text_model_with_projection,
    "text_unet": None,
}

FAMILIES: Table = {
    "latent-diffusion-text-to-image": ("LDMTextToImagePipeline", LATENT_DIFFUSION),
    "amused": ("AmusedPipeline", AMUSED),
    "amused-img2img": ("AmusedImg2ImgPipeline", AMUSED),
    "amused-inpaint": ("AmusedInpaintPipeline", AMUSED),
    "shap-e": ("ShapEPipeline", SHAPE, SHAPE_FROM_TEXT),
    "shap-e-img2img": ("ShapEImg2ImgPipeline", SHAPE, SHAPE_FROM_IMAGE),
    "stable-cascade-prior": ("StableCascadePriorPipeline", CASCADE),
    "unidiffuser": ("UniDiffuserPipeline", UNIDIFFUSER),
    "versatile-diffusion-image-variation": ("VersatileDiffusionImageVariationPipeline", VERSATILE, FROM_IMAGE),
    "versatile-diffusion-text-to-image": ("VersatileDiffusionTextToImagePipeline", VERSATILE, FROM_TEXT),
    "versatile-diffusion-dual-guided": ("VersatileDiffusionDualGuidedPipeline", VERSATILE, FROM_TEXT, FROM_IMAGE),
}
