"""Pipelines that make neither images nor videos nor sound: text (LLaDA 2) and proteins (RFD4-Proteina)."""

from __future__ import annotations

from diffusers import (
    BlockRefinementScheduler,
    LLaDA2Pipeline,
    RFD4ProteinaAutoencoder,
    RFD4ProteinaPipeline,
    RFD4ProteinaScheduler,
    RFD4ProteinaTransformer,
)

from support import language_models
from support.models import randomised

from .registry import family

RESIDUE_TYPES = 5
TOKEN_TYPES = 2


@family("llada2")
def llada2() -> LLaDA2Pipeline:
    """Return the pipeline with a model of transformers' own, for the published one's is code of its repository.

    It has no tokenizer: stock hands a saved one's entry of the index to the pipeline unread, and fails.
    """
    return LLaDA2Pipeline(model=language_models.qwen3_causal(), scheduler=BlockRefinementScheduler())


@family("rfd4-proteina")
def rfd4_proteina() -> RFD4ProteinaPipeline:
    sizes = {"nlayers": 1, "token_dim": 8, "nheads": 2, "dim_cond": 8, "pair_repr_dim": 8, "latent_dim": 4}
    vae = RFD4ProteinaAutoencoder(
        **sizes,
        atom37_mask=[[atom <= residue for atom in range(37)] for residue in range(RESIDUE_TYPES)],
        allowed_residue_types=[[True] * RESIDUE_TYPES] * TOKEN_TYPES,
        n_residue_types=RESIDUE_TYPES,
        num_token_types=TOKEN_TYPES,
        token_type_emb_dim=4,
    )
    transformer = RFD4ProteinaTransformer(
        **sizes,
        token_type_emb_dim=4,
        cath_emb_dim=4,
        t_emb_dim=4,
        seq_sep_dim=4,
        xt_pair_dist_dim=4,
        tri_mult_c=4,
        num_sequence_classes=RESIDUE_TYPES,
        num_token_types=TOKEN_TYPES,
    )
    return RFD4ProteinaPipeline(
        transformer=randomised(transformer, seed=40),
        vae=randomised(vae, seed=41),
        bb_ca_scheduler=RFD4ProteinaScheduler("log", "1/t", tsr_k=1.0, tsr_sigma=1.0),
        local_latents_scheduler=RFD4ProteinaScheduler("power", "tan", tsr_k=1.0, tsr_sigma=1.0),
    )
