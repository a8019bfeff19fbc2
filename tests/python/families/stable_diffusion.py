"""Stable Diffusion 1 and 2: its components, and the pipelines that take them or swap some for others."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table

DDIM = {"scheduler": Part("DDIMScheduler", steps_offset=1, clip_sample=False)}
V_PREDICTION = {"scheduler": Part("DDIMScheduler", prediction_type="v_prediction")}
INVERSE = {**DDIM, "inverse_scheduler": Part("DDIMInverseScheduler")}
UNCHECKED = {"safety_checker": None, "requires_safety_checker": False}

# Without the safety checker and its processor.
TEXT: Parts = {
    "vae": models.vae,
    "text_encoder": models.clip_text_model,
    "tokenizer": clip_tokenizer,
    "unet": models.unet,
    "scheduler": Part("PNDMScheduler", skip_prk_steps=True, steps_offset=1),
}
COMMON: Parts = {
    **TEXT,
    "safety_checker": models.safety_checker,
    "feature_extractor": unet_models.clip_image_processor,
}

# A U-Net that also takes the mask and the masked image.
MASKED = {"unet": models.unet.but(in_channels=9)}

TINY_AUTOENCODER = Part(
    "AutoencoderTiny",
    encoder_block_out_channels=(4, 4),
    decoder_block_out_channels=(4, 4),
    num_encoder_blocks=(1, 1),
    num_decoder_blocks=(1, 1),
)

CONSISTENCY_DECODER = Part(
    "ConsistencyDecoderVAE",
    encoder_block_out_channels=(4, 8),
    encoder_down_block_types=("DownEncoderBlock2D",) * 2,
    encoder_layers_per_block=1,
    encoder_norm_num_groups=2,
    decoder_block_out_channels=(4, 8),
    decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
    decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2,
    decoder_layers_per_block=1,
    decoder_norm_num_groups=2,
    decoder_num_train_timesteps=16,
)

# An autoencoder whose decoder is larger than its encoder, and takes the mask.
ASYMMETRIC = Part(
    "AsymmetricAutoencoderKL",
    down_block_types=("DownEncoderBlock2D",) * 2,
    down_block_out_channels=(4, 8),
    up_block_types=("UpDecoderBlock2D",) * 2,
    up_block_out_channels=(8, 16),
    layers_per_up_block=1,
    norm_num_groups=2,
    sample_size=16,
)

VERSION_2: Parts = {
    "unet": models.unet.but(attention_head_dim=(1, 2), use_linear_projection=True, upcast_attention=True),
    "scheduler": Part("DDIMScheduler", prediction_type="v_prediction", steps_offset=1, clip_sample=False),
    **UNCHECKED,
}

# A U-Net that takes the strength of guidance.
CONSISTENCY = {"unet": models.unet.but(time_cond_proj_dim=8), "scheduler": Part("LCMScheduler")}

DEPTH: Parts = {
    "unet": models.unet.but(in_channels=5),
    "depth_estimator": Part(
        "DPTForDepthEstimation",
        **{**models.SMALL, "num_hidden_layers": 4},
        image_size=16,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        use_auxiliary_head=False,
    ),
    "feature_extractor": Part("DPTImageProcessor", size={"height": 16, "width": 16}),
}

# Boxes with an image each, beside those with a text.
BOXES_OF_IMAGES: Parts = {
    "unet": models.unet.but(attention_type="gated-text-image"),
    "processor": Part("CLIPProcessor", image_processor=unet_models.clip_image_processor, tokenizer=clip_tokenizer),
    "image_encoder": unet_models.clip_vision_model_with_projection,
    "image_project": Part("CLIPImageProjection", hidden_size=8),
}

# An autoencoder that also makes the depth.
DEPTH_AUTOENCODER = Part(
    "AutoencoderKL", in_channels=6, out_channels=6, block_out_channels=(4,), norm_num_groups=2, sample_size=16
)

# Two schedulers, and a U-Net that takes a noise level as a class.
UPSCALE: Parts = {
    "unet": models.unet.but(
        in_channels=7,
        num_class_embeds=10,
        only_cross_attention=(True, False),
        use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
    ),
    **V_PREDICTION,
    "low_res_scheduler": Part("DDPMScheduler", beta_schedule="scaled_linear"),
    "max_noise_level": 350,
}

# The blocks of k-diffusion.
LATENT_UPSCALE: Parts = {
    "unet": models.unet.but(
        in_channels=8,
        out_channels=5,
        act_fn="gelu",
        block_out_channels=(8, 8),
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D"),
        conv_in_kernel=1,
        conv_out_kernel=1,
        downsample_padding=None,
        norm_num_groups=None,
        only_cross_attention=False,
        resnet_time_scale_shift="scale_shift",
        time_cond_proj_dim=16,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        upcast_attention=False,
    ),
    "scheduler": Part("EulerDiscreteScheduler", prediction_type="sample"),
}

# Marigold predicts one latent image from one.
MARIGOLD: Parts = {
    **TEXT,
    "unet": models.unet.but(in_channels=8, out_channels=4, use_linear_projection=True),
    "scheduler": Part("DDIMScheduler", prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False),
}
# Two latent images; and an index with a dictionary of lists and dictionaries.
INTRINSICS: Parts = {
    "unet": models.unet.but(in_channels=12, out_channels=8, use_linear_projection=True),
    "prediction_type": "intrinsics",
    "target_properties": {
        "target_names": ["albedo", "roughness"],
        "albedo": {"prediction_space": "srgb", "up_to_scale": False},
        "roughness": {"prediction_space": "linear"},
    },
    "default_denoising_steps": 4,
}

# StableUnCLIP goes from a text to an image's embedding, and on to the image: the U-Net takes a noised embedding as its
# class.
UNCLIP: Parts = {
    "image_normalizer": Part("diffusers.pipelines.stable_diffusion.StableUnCLIPImageNormalizer", embedding_dim=8),
    "image_noising_scheduler": Part("DDPMScheduler", beta_schedule="squaredcos_cap_v2"),
    **TEXT,
    "unet": models.unet.but(
        class_embed_type="projection", projection_class_embeddings_input_dim=16, use_linear_projection=True
    ),
    "scheduler": Part("PNDMScheduler", skip_prk_steps=True, prediction_type="v_prediction"),
}
UNCLIP_PRIOR: Parts = {
    "prior_tokenizer": clip_tokenizer,
    "prior_text_encoder": models.clip_text_model_with_projection,
    "prior": unet_models.prior_transformer,
    "prior_scheduler": Part("DDPMScheduler", variance_type="fixed_small_log", prediction_type="sample"),
}

IMAGE_VARIATION = {name: part for name, part in COMMON.items() if name not in ("text_encoder", "tokenizer")}
IMAGE_ENCODER = {"image_encoder": unet_models.clip_vision_model_with_projection}
SDE = {"scheduler": Part("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++", steps_offset=1)}
EDITED: Parts = {
    "unet": models.unet.but(in_channels=8),
    "scheduler": Part("EulerAncestralDiscreteScheduler", steps_offset=1),
}

FAMILIES: Table = {
    "stable-diffusion": ("StableDiffusionPipeline", COMMON),
    "stable-diffusion-2": ("StableDiffusionPipeline", COMMON, VERSION_2),
    "stable-diffusion-image-encoder": ("StableDiffusionPipeline", COMMON, IMAGE_ENCODER),
    "stable-diffusion-tiny-autoencoder": ("StableDiffusionPipeline", COMMON, {"vae": TINY_AUTOENCODER}),
    "stable-diffusion-consistency-decoder": ("StableDiffusionPipeline", COMMON, {"vae": CONSISTENCY_DECODER}),
    "stable-diffusion-img2img": (
        "StableDiffusionImg2ImgPipeline",
        COMMON,
        {"scheduler": Part("DPMSolverMultistepScheduler", steps_offset=1)},
    ),
    "stable-diffusion-inpaint": ("StableDiffusionInpaintPipeline", COMMON, MASKED),
    "stable-diffusion-inpaint-asymmetric": ("StableDiffusionInpaintPipeline", COMMON, MASKED, {"vae": ASYMMETRIC}),
    # Those that differ in what they do with the components.
    "stable-diffusion-attend-and-excite": ("StableDiffusionAttendAndExcitePipeline", COMMON),
    "stable-diffusion-panorama": ("StableDiffusionPanoramaPipeline", COMMON, DDIM),
    "stable-diffusion-sag": ("StableDiffusionSAGPipeline", COMMON),
    "stable-diffusion-ledits-pp": ("LEditsPPPipelineStableDiffusion", COMMON, SDE),
    "semantic-stable-diffusion": ("SemanticStableDiffusionPipeline", COMMON),
    "cycle-diffusion": ("CycleDiffusionPipeline", COMMON, DDIM),
    "stable-diffusion-pix2pix-zero": (
        "StableDiffusionPix2PixZeroPipeline",
        COMMON,
        INVERSE,
        {"caption_generator": None, "caption_processor": None},
    ),
    "stable-diffusion-model-editing": (
        "StableDiffusionModelEditingPipeline",
        COMMON,
        {"with_augs": ["A photo of "]},
    ),
    "stable-diffusion-paradigms": ("StableDiffusionParadigmsPipeline", COMMON),
    "stable-diffusion-inpaint-legacy": ("StableDiffusionInpaintPipelineLegacy", COMMON),
    # Those with other conditions, encoders and processors.
    "latent-consistency-model": ("LatentConsistencyModelPipeline", COMMON, CONSISTENCY),
    "latent-consistency-model-img2img": ("LatentConsistencyModelImg2ImgPipeline", COMMON, CONSISTENCY),
    "stable-diffusion-instruct-pix2pix": ("StableDiffusionInstructPix2PixPipeline", COMMON, EDITED),
    "stable-diffusion-depth2img": ("StableDiffusionDepth2ImgPipeline", TEXT, DEPTH),
    "stable-diffusion-image-variation": ("StableDiffusionImageVariationPipeline", IMAGE_VARIATION, IMAGE_ENCODER),
    "stable-diffusion-gligen": (
        "StableDiffusionGLIGENPipeline",
        COMMON,
        {"unet": models.unet.but(attention_type="gated")},
    ),
    "stable-diffusion-gligen-text-image": ("StableDiffusionGLIGENTextImagePipeline", COMMON, BOXES_OF_IMAGES),
    "stable-diffusion-diffedit": ("StableDiffusionDiffEditPipeline", COMMON, INVERSE),
    "stable-diffusion-ldm3d": (
        "StableDiffusionLDM3DPipeline",
        COMMON,
        {"vae": DEPTH_AUTOENCODER, "image_encoder": None},
    ),
    "stable-diffusion-safe": ("StableDiffusionPipelineSafe", COMMON, UNCHECKED),
    "stable-diffusion-upscale": ("StableDiffusionUpscalePipeline", TEXT, UPSCALE),
    "stable-diffusion-latent-upscale": ("StableDiffusionLatentUpscalePipeline", TEXT, LATENT_UPSCALE),
    "stable-unclip": ("StableUnCLIPPipeline", UNCLIP, UNCLIP_PRIOR),
    "stable-unclip-img2img": ("StableUnCLIPImg2ImgPipeline", UNCLIP, unet_models.IMAGE_ENCODER),
    "marigold-depth": (
        "MarigoldDepthPipeline",
        MARIGOLD,
        {"prediction_type": "depth", "default_denoising_steps": 4, "default_processing_resolution": 768},
    ),
    "marigold-normals": (
        "MarigoldNormalsPipeline",
        MARIGOLD,
        {"prediction_type": "normals", "use_full_z_range": False},
    ),
    "marigold-intrinsics": ("MarigoldIntrinsicsPipeline", MARIGOLD, INTRINSICS),
}
