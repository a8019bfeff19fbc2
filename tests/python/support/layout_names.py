"""Names of tensors in original checkpoints: regular expressions from diffusers' names, and what no name can say."""

from __future__ import annotations

import re

from . import original_layouts
from .original_layouts import Rules, Tensors

QKV = ("to_q", "to_k", "to_v")
ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")


def of(module: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names within a module."""
    return tuple(f"{module}.{each}" for each in names)


def renamed(key: str, rules: Rules) -> str:
    """Return a name after all rules, one after the other."""
    for old, new in rules:
        key = re.sub(old, new, key)
    return key


# -- Stable Diffusion's parts, Stable Cascade -------------------------------------------------------------------------


def motion(tensors: Tensors) -> Tensors:
    """Name what motion modules have as AnimateDiff does; the rest has diffusers' names."""
    rules = (
        (r"motion_modules\.(\d)\.", r"motion_modules.\1.temporal_transformer."),
        (r"\.norm1", ".norms.0"),
        (r"\.norm2", ".norms.1"),
        (r"\.norm3", ".ff_norm"),
        (r"\.attn1", ".attention_blocks.0"),
        (r"\.attn2", ".attention_blocks.1"),
        (r"pos_embed\.", "pos_encoder."),
    )
    return {renamed(key, rules) if "motion_modules" in key else key: each for key, each in tensors.items()}


CASCADE_QKV = {"attn.in_proj": QKV}
CASCADE: Rules = ((r"attn\.in_proj\.", "attn.in_proj_"), (r"attention\.to_out\.0", "attention.attn.out_proj"))

# -- transformers of images --------------------------------------------------------------------------------------------

OF_BOTH = {"img_attn.qkv": of("attn", QKV), "txt_attn.qkv": of("attn", ADDED)}
OF_SINGLE = {"linear1": (*of("attn", QKV), "proj_mlp")}
_FLUX: Rules = (
    (r"attn\.norm_q\.weight", "img_attn.norm.query_norm.scale"),
    (r"attn\.norm_k\.weight", "img_attn.norm.key_norm.scale"),
    (r"attn\.norm_added_q\.weight", "txt_attn.norm.query_norm.scale"),
    (r"attn\.norm_added_k\.weight", "txt_attn.norm.key_norm.scale"),
    (r"^(single.*\.)img_attn\.", r"\1"),
    (r"attn\.to_out\.0", "img_attn.proj"),
    (r"attn\.to_add_out", "txt_attn.proj"),
    (r"^(single.*)proj_out", r"\1linear2"),
    (r"^proj_out", "final_layer.linear"),
    (r"^single_transformer_blocks", "single_blocks"),
    (r"^transformer_blocks", "double_blocks"),
    (r"^context_embedder", "txt_in"),
    (r"^x_embedder", "img_in"),
)
CHROMA: Rules = (
    (r"^(distilled.*)linear_1", r"\1in_layer"),
    (r"^(distilled.*)linear_2", r"\1out_layer"),
    (r"^(distilled.*norms\.\d)\.weight", r"\1.scale"),
    (r"ff\.net\.", "img_mlp."),
    (r"ff_context\.net\.", "txt_mlp."),
    (r"mlp\.0\.proj", "mlp.0"),
    *_FLUX,
)
FLUX_2: Rules = (
    (r"time_guidance_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
    (r"time_guidance_embed\.timestep_embedder\.linear_2", "time_in.out_layer"),
    (r"time_guidance_embed\.guidance_embedder\.linear_1", "guidance_in.in_layer"),
    (r"time_guidance_embed\.guidance_embedder\.linear_2", "guidance_in.out_layer"),
    (r"(_modulation\w*)\.linear", r"\1.lin"),
    (r"norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"attn\.to_qkv_mlp_proj", "linear1"),
    (r"^(single.*)attn\.to_out", r"\1linear2"),
    (r"ff\.linear_in", "img_mlp.0"),
    (r"ff\.linear_out", "img_mlp.2"),
    (r"ff_context\.linear_in", "txt_mlp.0"),
    (r"ff_context\.linear_out", "txt_mlp.2"),
    *_FLUX,
)
FLUX_3: Rules = (
    (r"^timestep_embedder\.linear_1", "time_in.in_layer"),
    (r"^timestep_embedder\.linear_2", "time_in.out_layer"),
    (r"^target_timestep_embedder\.linear_1", "ref_time_in.in_layer"),
    (r"^target_timestep_embedder\.linear_2", "ref_time_in.out_layer"),
    (r"^proj_out", "final_layer.image.linear"),
    (r"^norm_out\.linear", "final_layer.image.adaLN_modulation.1"),
    (r"^x_embedders", "emb_in"),
    (r"^context_embedder", "txt_in"),
    (r"^mode_blocks", "content_mode_blocks"),
    (r"^single_transformer_blocks", "single_blocks"),
    (r"^(\w+_modulations\.\w+)\.linear", r"\1.lin"),
    (r"attn\.to_([qkv])", r"\1_proj"),
    (r"attn\.to_out\.0", "attn_out"),
    (r"attn\.norm_q\.weight", "norm.query_norm.scale"),
    (r"attn\.norm_k\.weight", "norm.key_norm.scale"),
    (r"ff\.linear_in", "mlp_in"),
    (r"ff\.linear_out", "mlp_out"),
)
AURA: Rules = (
    (r"^time_step_proj\.linear_1", "t_embedder.mlp.0"),
    (r"^time_step_proj\.linear_2", "t_embedder.mlp.2"),
    (r"^context_embedder", "cond_seq_linear"),
    (r"^pos_embed\.pos_embed", "positional_encoding"),
    (r"^pos_embed\.proj", "init_x_linear"),
    (r"^proj_out", "final_linear"),
    (r"^norm_out\.linear", "modF.1"),
    (r"(ff\w*)\.linear_", r"\1.c_fc"),
    (r"(ff\w*)\.out_projection", r"\1.c_proj"),
    (r"^(single.*)ff\.", r"\1mlp."),
    (r"^(single.*)norm1\.linear", r"\1modCX.1"),
    (r"^(single.*)to_([qkv])", r"\1w1\2"),
    (r"^(single.*)to_out\.0", r"\1w1o"),
    (r"ff\.", "mlpX."),
    (r"ff_context\.", "mlpC."),
    (r"norm1\.linear", "modX.1"),
    (r"norm1_context\.linear", "modC.1"),
    (r"to_([qkv])", r"w2\1"),
    (r"to_out\.0", "w2o"),
    (r"add_([qkv])_proj", r"w1\1"),
    (r"to_add_out", "w1o"),
    (r"^single_transformer_blocks", "single_layers"),
    (r"^joint_transformer_blocks", "double_layers"),
)
LUMINA: Rules = (
    (r"^time_caption_embed\.caption_embedder", "cap_embedder"),
    (r"^time_caption_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_caption_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^norm_out\.linear_1", "final_layer.adaLN_modulation.1"),
    (r"^norm_out\.linear_2", "final_layer.linear"),
    (r"^(context_refiner\.\d)\.norm([12])", r"\1.attention_norm\2"),
    (r"\.norm1\.linear", ".adaLN_modulation.1"),
    (r"\.norm1\.norm", ".attention_norm1"),
    (r"\.norm2", ".attention_norm2"),
    (r"norm_([qk])\.", r"\1_norm."),
    (r"attn\.to_out\.0", "attn.out"),
    (r"attn\.", "attention."),
    (r"linear_([123])", r"w\1"),
)
SANA: Rules = (
    (r"^patch_embed", "x_embedder"),
    (r"^time_embed\.emb\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_embed\.emb\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_embed\.linear", "t_block.1"),
    (r"^caption_projection\.linear_", "y_embedder.y_proj.fc"),
    (r"^caption_norm", "attention_y_norm"),
    (r"^proj_out", "final_layer.linear"),
    (r"^scale_shift_table", "final_layer.scale_shift_table"),
    (r"^transformer_blocks", "blocks"),
    (r"attn1\.to_out\.0", "attn.proj"),
    (r"attn2\.to_out\.0", "cross_attn.proj"),
    (r"attn2\.to_q", "cross_attn.q_linear"),
    (r"ff\.conv_(\w+)", r"mlp.\1_conv.conv"),
)
COSMOS_2: Rules = (
    (r"patch_embed\.proj", "x_embedder.proj.1"),
    (r"^proj_out", "final_layer.linear"),
    (r"time_embed\.t_embedder", "t_embedder.1"),
    (r"time_embed\.norm", "t_embedding_norm"),
    (r"^norm_out\.linear_", "final_layer.adaln_modulation."),
    (r"norm1\.linear_", "adaln_modulation_self_attn."),
    (r"norm2\.linear_", "adaln_modulation_cross_attn."),
    (r"norm3\.linear_", "adaln_modulation_mlp."),
    (r"to_([qkv])\.", r"\1_proj."),
    (r"norm_([qk])\.", r"\1_norm."),
    (r"to_out\.0", "output_proj"),
    (r"attn1\.", "self_attn."),
    (r"attn2\.", "cross_attn."),
    (r"ff\.net\.0\.proj", "mlp.layer1"),
    (r"ff\.net\.2", "mlp.layer2"),
    (r"^transformer_blocks", "blocks"),
)
KREA: Rules = (
    (r"^img_in", "first"),
    (r"^time_embed\.linear_1", "tmlp.0"),
    (r"^time_embed\.linear_2", "tmlp.2"),
    (r"^time_mod_proj", "tproj.1"),
    (r"^txt_in\.norm\.weight", "txtmlp.0.scale"),
    (r"^txt_in\.linear_1", "txtmlp.1"),
    (r"^txt_in\.linear_2", "txtmlp.3"),
    (r"^text_fusion", "txtfusion"),
    (r"^transformer_blocks", "blocks"),
    (r"^final_layer\.linear", "last.linear"),
    (r"^final_layer\.norm\.weight", "last.norm.scale"),
    (r"^final_layer\.scale_shift_table", "last.modulation.lin"),
    (r"attn\.to_out\.0", "attn.wo"),
    (r"attn\.to_gate", "attn.gate"),
    (r"attn\.to_", "attn.w"),
    (r"norm_([qk])\.weight", r"qknorm.\1norm.scale"),
    (r"\.ff\.", ".mlp."),
    (r"\.norm1\.weight", ".prenorm.scale"),
    (r"\.norm2\.weight", ".postnorm.scale"),
    (r"scale_shift_table", "mod.lin"),
)


def flat_modulations(tensors: Tensors) -> Tensors:
    return {key: each.flatten() if key.endswith(".mod.lin") else each for key, each in tensors.items()}


DEEP_COMPRESSION: Rules = (
    (r"^(encoder|decoder)\.conv_in", r"\1.project_in.conv"),
    (r"^encoder\.conv_out", "encoder.project_out.0.conv"),
    (r"^decoder\.norm_out", "decoder.project_out.0"),
    (r"^decoder\.conv_out", "decoder.project_out.2.conv"),
    (r"(?:down|up)_blocks\.(\d)\.(\d)\.", r"stages.\1.op_list.\2."),
    (r"attn\.to_qkv\.", "context_module.main.qkv.conv."),
    (r"attn\.to_qkv_multiscale\.0\.proj_in", "context_module.main.aggreg.0.0"),
    (r"attn\.to_qkv_multiscale\.0\.proj_out", "context_module.main.aggreg.0.1"),
    (r"attn\.to_out", "context_module.main.proj.conv"),
    (r"attn\.norm_out", "context_module.main.proj.norm"),
    (r"conv_out\.conv_(\w+)", r"local_module.main.\1_conv.conv"),
    (r"conv_out\.norm", "local_module.main.point_conv.norm"),
    (r"(op_list\.\d)\.conv([12]?)\.", r"\1.main.conv\2.conv."),
    (r"(op_list\.\d)\.norm\.", r"\1.main.conv2.norm."),
)


def pixels(tensors: Tensors) -> Tensors:
    """Give the projections of attention the shape of convolutions of one pixel."""
    ends = ("main.qkv.conv.weight", "main.proj.conv.weight")
    return {key: each[:, :, None, None] if key.endswith(ends) else each for key, each in tensors.items()}


Z_IMAGE: Rules = (
    (r"all_(final_layer|x_embedder)\.2-1", r"\1"),
    (r"attention\.to_out\.0", "attention.out"),
    (r"attention\.norm_([qk])", r"attention.\1_norm"),
)

# -- video ------------------------------------------------------------------------------------------------------------

MOCHI: Rules = (
    (r"^patch_embed", "x_embedder"),
    (r"^time_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_embed\.pooler", "t5_y_embedder"),
    (r"^time_embed\.caption_proj", "t5_yproj"),
    (r"^norm_out\.linear", "final_layer.mod"),
    (r"^proj_out", "final_layer.linear"),
    (r"^transformer_blocks", "blocks"),
    (r"norm1\.linear", "mod_x"),
    (r"norm1_context\.linear(_1)?", "mod_y"),
    (r"attn1\.norm_([qk])", r"attn.\1_norm_x"),
    (r"attn1\.norm_added_([qk])", r"attn.\1_norm_y"),
    (r"attn1\.to_out\.0", "attn.proj_x"),
    (r"attn1\.to_add_out", "attn.proj_y"),
    (r"attn1\.", "attn."),
    (r"ff\.net\.0\.proj", "mlp_x.w1"),
    (r"ff\.net\.2", "mlp_x.w2"),
    (r"ff_context\.net\.0\.proj", "mlp_y.w1"),
    (r"ff_context\.net\.2", "mlp_y.w2"),
)
HUNYUAN: Rules = (
    (r"^(context_embedder.*)img_attn_qkv", r"\1self_attn_qkv"),
    (r"^context_embedder\.time_text_embed\.timestep_embedder\.linear_1", "txt_in.t_embedder.mlp.0"),
    (r"^context_embedder\.time_text_embed\.timestep_embedder\.linear_2", "txt_in.t_embedder.mlp.2"),
    (r"^context_embedder\.time_text_embed\.text_embedder", "txt_in.c_embedder"),
    (r"^context_embedder\.proj_in", "txt_in.input_embedder"),
    (r"^context_embedder\.token_refiner\.refiner_blocks", "txt_in.individual_token_refiner.blocks"),
    (r"^(txt_in.*)norm_out\.linear", r"\1adaLN_modulation.1"),
    (r"^(txt_in.*)attn\.to_out\.0", r"\1self_attn_proj"),
    (r"^(txt_in.*)ff\.net\.0\.proj", r"\1mlp.fc1"),
    (r"^(txt_in.*)ff\.net\.2", r"\1mlp.fc2"),
    (r"^x_embedder", "img_in"),
    (r"^time_text_embed\.timestep_embedder\.linear_1", "time_in.mlp.0"),
    (r"^time_text_embed\.timestep_embedder\.linear_2", "time_in.mlp.2"),
    (r"^time_text_embed\.guidance_embedder\.linear_1", "guidance_in.mlp.0"),
    (r"^time_text_embed\.guidance_embedder\.linear_2", "guidance_in.mlp.2"),
    (r"^time_text_embed\.text_embedder\.linear_1", "vector_in.in_layer"),
    (r"^time_text_embed\.text_embedder\.linear_2", "vector_in.out_layer"),
    (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"^proj_out", "final_layer.linear"),
    (r"^(single.*)norm\.linear", r"\1modulation.linear"),
    (r"^(single.*)attn\.norm_([qk])", r"\1\2_norm"),
    (r"^(single.*)proj_out", r"\1linear2"),
    (r"^single_transformer_blocks", "single_blocks"),
    (r"^transformer_blocks", "double_blocks"),
    (r"attn\.norm_([qk])", r"img_attn_\1_norm"),
    (r"attn\.norm_added_([qk])", r"txt_attn_\1_norm"),
    (r"attn\.to_out\.0", "img_attn_proj"),
    (r"attn\.to_add_out", "txt_attn_proj"),
    (r"norm1\.linear", "img_mod.linear"),
    (r"norm1_context\.linear", "txt_mod.linear"),
    (r"ff\.net\.0\.proj", "img_mlp.fc1"),
    (r"ff\.net\.2", "img_mlp.fc2"),
    (r"ff_context\.net\.0\.proj", "txt_mlp.fc1"),
    (r"ff_context\.net\.2", "txt_mlp.fc2"),
)
WAN_IMAGE: Rules = (
    (r"^condition_embedder\.image_embedder\.norm1", "img_emb.proj.0"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj", "img_emb.proj.1"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2", "img_emb.proj.3"),
    (r"^condition_embedder\.image_embedder\.norm2", "img_emb.proj.4"),
    (r"add_([kv])_proj", r"\1_img"),
    (r"norm_added_k", "norm_k_img"),
)
WAN_VACE: Rules = ((r"^(vace_blocks.*)proj_in", r"\1before_proj"), (r"^(vace_blocks.*)proj_out", r"\1after_proj"))
WAN_ANIMATE: Rules = (
    *WAN_IMAGE,
    (r"^face_adapter\.(\d)", r"face_adapter.fuser_blocks.\1"),
    (r"^(face_adapter.*)norm_([qk])\.", r"\1\2_norm."),
    (r"^(face_adapter.*)to_q\.", r"\1linear1_q."),
    (r"^(face_adapter.*)to_out\.", r"\1linear2."),
    (r"^(face_encoder\.conv\d(?:_local)?)", r"\1.conv"),
    (r"motion_synthesis_weight", "dec.direction.weight"),
    (r"motion_network", "enc.fc"),
    (r"^(motion_encoder)\.conv_in\.weight", r"\1.enc.net_app.convs.0.0.weight"),
    (r"^(motion_encoder)\.conv_in\.act_fn", r"\1.enc.net_app.convs.0.1"),
    (r"^(motion_encoder)\.conv_out", r"\1.enc.net_app.convs.8"),
    *((rf"res_blocks\.{number}\.", f"enc.net_app.convs.{number + 1}.") for number in range(7)),
    (r"(convs\.\d)\.conv1\.weight", r"\1.conv1.0.weight"),
    (r"(convs\.\d)\.conv1\.act_fn", r"\1.conv1.1"),
    (r"(convs\.\d)\.conv2\.weight", r"\1.conv2.1.weight"),
    (r"(convs\.\d)\.conv2\.act_fn", r"\1.conv2.2"),
    (r"(convs\.\d)\.conv_skip", r"\1.skip.1"),
)


WAN_ANIMATE_2: Rules = (
    (r"^(blocks\.\d)\.", r"\1.block."),
    (r"attn\.to_([qkv])\.", r"attn.\1."),
    (r"attn\.to_out\.0", "attn.o"),
)
MINIMAX: Rules = (
    (r"^token_refiner\.refiner_blocks", "token_refiner.blocks"),
    (r"^time_embedder\.linear_1", "time_embedder.proj_in"),
    (r"^time_embedder\.linear_2", "time_embedder.proj_out"),
    (r"^proj_in", "video_patch_proj"),
    (r"^audio_proj_in", "audio_patch_proj"),
    (r"^context_embedder", "condition_proj"),
    (r"^norm_out\.norm", "final_layer.norm"),
    (r"^norm_out\.linear", "final_layer.adaln_proj.linear"),
    (r"^proj_out", "final_layer.video_out"),
    (r"^audio_proj_out", "final_layer.audio_out"),
    (r"^transformer_blocks", "blocks"),
    (r"attn\.norm_([qk])", r"attn.\1_norm"),
    (r"attn\.to_out\.0", "attn.out_proj"),
    (r"ff\.net\.0\.proj", "mlp.fc1"),
    (r"ff\.net\.2", "mlp.fc2"),
)


def wan_animate(tensors: Tensors) -> Tensors:
    """Give the biases of the motion encoder the shape of images."""
    named = original_layouts.wan(tensors)
    return {
        key: each[None, :, None, None] if "net_app" in key and "bias" in key else each for key, each in named.items()
    }


LTX_2: Rules = (
    (r"^proj_in", "patchify_proj"),
    (r"^audio_proj_in", "audio_patchify_proj"),
    (r"^time_embed", "adaln_single"),
    (r"^audio_time_embed", "audio_adaln_single"),
    (r"^av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
    (r"^av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
    (r"^av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
    (r"^av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
    (r"(video|audio)_a2v_cross_attn_scale_shift_table", r"scale_shift_table_a2v_ca_\1"),
    (r"norm_([qk])\.", r"\1_norm."),
)
LTX_2_VAE: Rules = (
    (r"^encoder\.down_blocks\.0\.downsamplers\.0", "encoder.down_blocks.1"),
    (r"^encoder\.mid_block", "encoder.down_blocks.8"),
    (r"^decoder\.up_blocks\.0\.upsamplers\.0", "decoder.up_blocks.1"),
    (r"^decoder\.up_blocks\.0\.resnets", "decoder.up_blocks.2.resnets"),
    (r"^decoder\.mid_block", "decoder.up_blocks.0"),
    (r"resnets", "res_blocks"),
    (r"latents_mean", "per_channel_statistics.mean-of-means"),
    (r"latents_std", "per_channel_statistics.std-of-means"),
)
