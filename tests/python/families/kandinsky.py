"""Kandinsky 2.1, 2.2 and 3: priors, decoders, and both in one pipeline whose index has names with a prefix."""

from __future__ import annotations

from string import ascii_lowercase

from support import models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import Parts, Table

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PIECES = [*((token, 0.0) for token in SPECIAL_TOKENS), *((letter, -1.0) for letter in ascii_lowercase)]

PRIOR: Parts = {
    "prior": unet_models.prior_transformer,
    "image_encoder": unet_models.clip_vision_model_with_projection,
    "text_encoder": models.clip_text_model_with_projection,
    "tokenizer": clip_tokenizer,
    "scheduler": Part("UnCLIPScheduler", variance_type="fixed_small_log", prediction_type="sample"),
    "image_processor": unet_models.clip_image_processor,
}
PREFIXED_PRIOR: Parts = {f"prior_{name}": part for name, part in PRIOR.items()}

# The U-Net that makes latent images from an image's embedding, and the text's where it says so; and an autoencoder with
# spatial norms, which always have 32 groups.
UNET = models.unet.but(
    out_channels=8,
    down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    mid_block_type="UNetMidBlock2DSimpleCrossAttn",
    up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    encoder_hid_dim=8,
    resnet_time_scale_shift="scale_shift",
)
DECODER: Parts = {
    "scheduler": Part("DDPMScheduler", variance_type="learned_range"),
    "movq": unet_models.vq_model.but(
        block_out_channels=(32,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        norm_type="spatial",
        vq_embed_dim=4,
    ),
}

UNET_2_1 = UNET.but(encoder_hid_dim_type="text_image_proj", addition_embed_type="text_image")
COMMON_2_1: Parts = {
    "text_encoder": Part(
        "diffusers.pipelines.kandinsky.MultilingualCLIP",
        **models.SMALL,
        vocab_size=len(PIECES),
        max_position_embeddings=80,
        type_vocab_size=1,
        transformerDimSize=8,
        imageDimSize=8,
    ),
    "tokenizer": Part("XLMRobertaTokenizer", vocab=PIECES),
    "unet": UNET_2_1,
    **DECODER,
}
MASKED_2_1 = {"unet": UNET_2_1.but(in_channels=9)}
DDIM = {"scheduler": Part("DDIMScheduler")}

UNET_2_2 = UNET.but(encoder_hid_dim_type="image_proj", addition_embed_type="image")
COMMON_2_2: Parts = {"unet": UNET_2_2, **DECODER}
MASKED_2_2 = {"unet": UNET_2_2.but(in_channels=9)}
HINTED_2_2 = {"unet": UNET_2_2.but(in_channels=8, addition_embed_type="image_hint")}

COMMON_3: Parts = {
    "tokenizer": t5_tokenizer,
    "text_encoder": models.t5_encoder,
    "unet": Part(
        "Kandinsky3UNet",
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=1,
        block_out_channels=(8, 8),
        cross_attention_dim=8,
        encoder_hid_dim=8,
    ),
    "scheduler": Part("DDPMScheduler", beta_schedule="squaredcos_cap_v2", clip_sample=True, thresholding=False),
    "movq": DECODER["movq"],
}

FAMILIES: Table = {
    "kandinsky-prior": ("KandinskyPriorPipeline", PRIOR),
    "kandinsky": ("KandinskyPipeline", COMMON_2_1),
    "kandinsky-img2img": ("KandinskyImg2ImgPipeline", COMMON_2_1, DDIM),
    "kandinsky-inpaint": ("KandinskyInpaintPipeline", COMMON_2_1, MASKED_2_1, DDIM),
    "kandinsky-combined": ("KandinskyCombinedPipeline", COMMON_2_1, PREFIXED_PRIOR),
    "kandinsky-img2img-combined": ("KandinskyImg2ImgCombinedPipeline", COMMON_2_1, PREFIXED_PRIOR),
    "kandinsky-inpaint-combined": ("KandinskyInpaintCombinedPipeline", COMMON_2_1, MASKED_2_1, PREFIXED_PRIOR),
    "kandinsky-2-2-prior": ("KandinskyV22PriorPipeline", PRIOR),
    "kandinsky-2-2-prior-emb2emb": ("KandinskyV22PriorEmb2EmbPipeline", PRIOR),
    "kandinsky-2-2": ("KandinskyV22Pipeline", COMMON_2_2),
    "kandinsky-2-2-img2img": ("KandinskyV22Img2ImgPipeline", COMMON_2_2),
    "kandinsky-2-2-inpaint": ("KandinskyV22InpaintPipeline", COMMON_2_2, MASKED_2_2),
    "kandinsky-2-2-controlnet": ("KandinskyV22ControlnetPipeline", COMMON_2_2, HINTED_2_2),
    "kandinsky-2-2-controlnet-img2img": ("KandinskyV22ControlnetImg2ImgPipeline", COMMON_2_2, HINTED_2_2),
    "kandinsky-2-2-combined": ("KandinskyV22CombinedPipeline", COMMON_2_2, PREFIXED_PRIOR),
    "kandinsky-2-2-img2img-combined": ("KandinskyV22Img2ImgCombinedPipeline", COMMON_2_2, PREFIXED_PRIOR),
    "kandinsky-2-2-inpaint-combined": ("KandinskyV22InpaintCombinedPipeline", COMMON_2_2, MASKED_2_2, PREFIXED_PRIOR),
    "kandinsky-3": ("Kandinsky3Pipeline", COMMON_3),
    "kandinsky-3-img2img": ("Kandinsky3Img2ImgPipeline", COMMON_3),
}
