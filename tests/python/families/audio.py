"""Audio pipelines: AudioLDM, MusicLDM, Dance Diffusion, Stable Audio, ACE-Step and LongCat-AudioDiT."""

from __future__ import annotations

from transformers import RobertaTokenizer

from support import language_models, models
from support.models import SMALL
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table

ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *"abcdefghijklmnopqrstuvwxyz")


def roberta_tokenizer() -> RobertaTokenizer:
    """Return a byte-level tokenizer of the special tokens, the letters and a space."""
    return RobertaTokenizer(
        vocab={token: number for number, token in enumerate(ROBERTA_TOKENS)}, merges=[], model_max_length=77
    )


FLOW = Part("FlowMatchEulerDiscreteScheduler")
T5: Parts = {"text_encoder": models.t5_encoder, "tokenizer": t5_tokenizer}

CLAP_TEXT = {**SMALL, "vocab_size": len(ROBERTA_TOKENS), "max_position_embeddings": 16, "projection_dim": 8}
# The audio branch has batch norms: buffers of floats, and 0-dim integers.
CLAP: Parts = {
    "text_encoder": Part(
        "ClapModel",
        text_config=CLAP_TEXT,
        audio_config={
            "window_size": 2,
            "num_mel_bins": 8,
            "spec_size": 16,
            "patch_size": 2,
            "patch_stride": (2, 2),
            "hidden_size": 8,
            "projection_dim": 8,
            "depths": (1, 1),
            "num_attention_heads": (1, 2),
            "patch_embeds_hidden_size": 4,
            "num_hidden_layers": 2,
            "mlp_ratio": 1.0,
        },
        projection_dim=8,
    ),
    "feature_extractor": Part(
        "ClapFeatureExtractor",
        feature_size=8,
        sampling_rate=32000,
        hop_length=80,
        fft_window_size=256,
        max_length_s=1,
    ),
}

# An autoencoder of mel spectrograms, and what makes sound of them.
SPECTROGRAMS: Parts = {
    "vae": models.vae.but(in_channels=1, out_channels=1),
    "tokenizer": roberta_tokenizer,
    "scheduler": Part("DDIMScheduler", beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False),
    "vocoder": Part(
        "SpeechT5HifiGan",
        model_in_dim=8,
        upsample_initial_channel=8,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    ),
}
AUDIOLDM2: Parts = {
    **SPECTROGRAMS,
    **CLAP,
    "text_encoder_2": models.t5_encoder,
    "tokenizer_2": t5_tokenizer,
    "projection_model": Part(
        "AudioLDM2ProjectionModel", text_encoder_dim=8, text_encoder_1_dim=8, langauge_model_dim=8
    ),
    "language_model": models.causal_language_model,
    "unet": models.unet.of("AudioLDM2UNet2DConditionModel", cross_attention_dim=((None, 8, 8), (None, 8, 8))),
}
# In AudioLDM and MusicLDM the text's embedding stands where a class's would.
AUDIOLDM: Parts = {
    **SPECTROGRAMS,
    "unet": models.unet.but(
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2D",
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=8,
        class_embeddings_concat=True,
    ),
}

DANCE: Parts = {
    "unet": Part(
        "UNet1DModel",
        sample_size=16,
        sample_rate=8000,
        extra_in_channels=16,
        block_out_channels=(8, 8, 8),
        use_timestep_embedding=False,
    ),
    "scheduler": Part("IPNDMScheduler"),
}

OOBLECK = Part(
    "AutoencoderOobleck",
    encoder_hidden_size=4,
    downsampling_ratios=[1, 2],
    channel_multiples=[1, 2],
    decoder_channels=4,
    decoder_input_channels=4,
    sampling_rate=8,
)
STABLE: Parts = {
    "vae": OOBLECK,
    **T5,
    "projection_model": Part(
        "StableAudioProjectionModel", text_encoder_dim=8, conditioning_dim=4, min_value=0, max_value=512
    ),
    "transformer": Part(
        "StableAudioDiTModel",
        sample_size=4,
        in_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        out_channels=4,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    ),
    "scheduler": Part("EDMDPMSolverMultistepScheduler"),
}
PUBLISHED = {"scheduler": Part("CosineDPMSolverMultistepScheduler", prediction_type="v_prediction", sigma_data=1.0)}

STABLE_3: Parts = {
    "vae": Part(
        "AutoencoderSAME",
        patch_size=2,
        encoder_channels=8,
        encoder_c_mults=(1,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=4,
        ff_mult=1,
        sampling_rate=16,
    ),
    "text_encoder": Part(
        "T5GemmaEncoderModel",
        encoder=language_models.GEMMA_HALF,
        decoder=language_models.GEMMA_HALF,
        is_encoder_decoder=False,
    ),
    "tokenizer": language_models.gemma_tokenizer,
    "duration_embedder": Part("StableAudio3DurationEmbedder", output_dim=8, fourier_dim=8),
    "transformer": Part(
        "StableAudio3DiTModel",
        io_channels=4,
        embed_dim=16,
        depth=1,
        num_heads=2,
        cond_token_dim=8,
        global_cond_dim=8,
        local_add_cond_dim=5,
        timestep_features_dim=8,
        ff_mult=1.0,
        num_memory_tokens=2,
    ),
    "scheduler": FLOW.but(num_train_timesteps=1),
}

# Of all the transformers of ACE-Step.
ATTENTION = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "sliding_window": 4,
}
POOLING = {
    **ATTENTION,
    "audio_acoustic_hidden_dim": 4,
    "pool_window_size": 2,
    "num_attention_pooler_hidden_layers": 1,
}
ACE_STEP: Parts = {
    "vae": OOBLECK,
    "text_encoder": language_models.qwen3,
    "tokenizer": language_models.qwen_tokenizer,
    "transformer": Part(
        "AceStepTransformer1DModel", **ATTENTION, num_hidden_layers=2, in_channels=12, audio_acoustic_hidden_dim=4
    ),
    "condition_encoder": Part(
        "AceStepConditionEncoder",
        **ATTENTION,
        text_hidden_dim=8,
        timbre_hidden_dim=4,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
    ),
    "scheduler": FLOW.but(num_train_timesteps=1),
}
AUDIO_TOKENS: Parts = {
    "audio_tokenizer": Part("AceStepAudioTokenizer", **POOLING, fsq_dim=8, fsq_input_levels=[4, 4, 4]),
    "audio_token_detokenizer": Part("AceStepAudioTokenDetokenizer", **POOLING),
}

LONGCAT: Parts = {
    "vae": Part(
        "LongCatAudioDiTVae",
        channels=8,
        c_mults=[1, 2],
        strides=[2],
        latent_dim=4,
        encoder_latent_dim=8,
        downsampling_ratio=2,
    ),
    "text_encoder": models.umt5_encoder,
    "tokenizer": t5_tokenizer,
    "transformer": Part(
        "LongCatAudioDiTTransformer",
        dit_dim=16,
        dit_depth=2,
        dit_heads=2,
        dit_text_dim=8,
        latent_dim=4,
        text_conv=False,
        ff_mult=1.0,
    ),
    "scheduler": FLOW.but(invert_sigmas=True),
}

FAMILIES: Table = {
    "audioldm2": ("AudioLDM2Pipeline", AUDIOLDM2),
    "audioldm": ("AudioLDMPipeline", AUDIOLDM, {"text_encoder": Part("ClapTextModelWithProjection", **CLAP_TEXT)}),
    "musicldm": ("MusicLDMPipeline", AUDIOLDM, CLAP),
    "dance-diffusion": ("DanceDiffusionPipeline", DANCE),
    "stable-audio": ("StableAudioPipeline", STABLE),
    "stable-audio-with-published-scheduler": ("StableAudioPipeline", STABLE, PUBLISHED),
    "stable-audio-3": ("StableAudio3Pipeline", STABLE_3),
    "stable-audio-3-audio-to-audio": ("StableAudio3AudioToAudioPipeline", STABLE_3),
    "stable-audio-3-inpaint": ("StableAudio3InpaintPipeline", STABLE_3),
    "ace-step": ("AceStepPipeline", ACE_STEP),
    "ace-step-with-audio-tokenizer": ("AceStepPipeline", ACE_STEP, AUDIO_TOKENS),
    "longcat-audio-dit": ("LongCatAudioDiTPipeline", LONGCAT),
}
