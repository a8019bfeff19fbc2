"""Pipelines that make neither images nor videos nor sound: text (LLaDA 2) and proteins (RFD4-Proteina)."""

from __future__ import annotations

from support import language_models
from support.parts import Part

from .registry import Parts, Table

RESIDUE_TYPES = 5
TOKEN_TYPES = 2
SIZES = {
    "nlayers": 1,
    "token_dim": 8,
    "nheads": 2,
    "dim_cond": 8,
    "pair_repr_dim": 8,
    "latent_dim": 4,
    "token_type_emb_dim": 4,
    "num_token_types": TOKEN_TYPES,
}
SCHEDULER = Part("RFD4ProteinaScheduler", tsr_k=1.0, tsr_sigma=1.0)

# The model is one of transformers' own, for the published one's is code of its repository. There is no tokenizer: stock
# hands a saved one's entry of the index to the pipeline unread, and fails.
LLADA2: Parts = {"model": language_models.qwen3_causal, "scheduler": Part("BlockRefinementScheduler")}

PROTEINA: Parts = {
    "transformer": Part(
        "RFD4ProteinaTransformer",
        **SIZES,
        cath_emb_dim=4,
        t_emb_dim=4,
        seq_sep_dim=4,
        xt_pair_dist_dim=4,
        tri_mult_c=4,
        num_sequence_classes=RESIDUE_TYPES,
    ),
    "vae": Part(
        "RFD4ProteinaAutoencoder",
        **SIZES,
        atom37_mask=[[atom <= residue for atom in range(37)] for residue in range(RESIDUE_TYPES)],
        allowed_residue_types=[[True] * RESIDUE_TYPES] * TOKEN_TYPES,
        n_residue_types=RESIDUE_TYPES,
    ),
    "bb_ca_scheduler": SCHEDULER.but(schedule_mode="log", noise_mode="1/t"),
    "local_latents_scheduler": SCHEDULER.but(schedule_mode="power", noise_mode="tan"),
}

FAMILIES: Table = {
    "llada2": ("LLaDA2Pipeline", LLADA2),
    "rfd4-proteina": ("RFD4ProteinaPipeline", PROTEINA),
}
