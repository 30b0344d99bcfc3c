"""How the keys of published checkpoints become ours: (regular expression, replacement), applied in order."""

from __future__ import annotations

Keys = tuple[tuple[str, str], ...]

SUPERPOINT_KEYS: Keys = (
    *((rf"^conv{n}{ab}\.", f"encoder.{2 * (n - 1) + i}.") for n in range(1, 5) for i, ab in enumerate("ab")),
    *(
        (rf"^conv{p}{ab}\.", f"{ours}.{i}.")
        for p, ours in (("P", "detector"), ("D", "descriptor"))
        for i, ab in enumerate("ab")
    ),
)
"""superpoint_v1.pth"""

SUPERGLUE_KEYS: Keys = (
    (r"^kenc\.encoder\.", "position."),
    (r"^gnn\.layers\.", "layers."),
    (r"\.attn\.proj\.0\.", ".query."),
    (r"\.attn\.proj\.1\.", ".key."),
    (r"\.attn\.proj\.2\.", ".value."),
    (r"\.attn\.merge\.", ".merge."),
    (r"^final_proj\.", "project."),
    (r"^bin_score$", "dustbin"),
)
"""superglue_indoor.pth and superglue_outdoor.pth"""

LIGHTGLUE_KEYS: Keys = (
    (r"^matcher\.", ""),
    (r"^(self|cross)_attn\.(\d+)", r"transformers.\2.\1_attn"),
)
"""Files of LightGlue's releases, to kornia's names."""

LOFTR_KEYS: Keys = ((r"^matcher\.", ""),)
"""Files of LoFTR, to kornia's names."""

REDFEAT_KEYS: Keys = (
    (r"^(?:module\.)?ada([12])\.ops\.", r"adapters.\1."),
    (r"^adapters\.1\.", "adapters.0."),
    (r"^adapters\.2\.", "adapters.1."),
    (r"^(?:module\.)?enc\.ops\.", "encoder."),
    (r"^(?:module\.)?det\.PriorEstimator\.0\.", "prior."),
    (r"^(?:module\.)?det\.ConditionalEstimator\.preconv\.", "conditional.reduce."),
    (r"^(?:module\.)?det\.ConditionalEstimator\.postconv\.0\.", "conditional.last."),
    *(
        (rf"^(?:module\.)?det\.ConditionalEstimator\.layer{n + 1}\.", f"conditional.peaks.{n}.response.")
        for n in range(3)
    ),
    *((rf"^(?:module\.)?det\.ConditionalEstimator\.bn{n + 1}\.", f"conditional.peaks.{n}.norm.") for n in range(3)),
)
"""The ReDFeat authors' checkpoints; their first modality is our source."""
