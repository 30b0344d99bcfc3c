"""Judges translations on the test pairs, whose truth is known. Training never sees the outcome.

Where images are aligned, the right translation of a source is known: the target in the geometry of the source. A
translator has to come nearer to it than two trivial answers do: the source itself, and the unaligned target.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regbench.api.translator import Translator
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError
from regbench.evaluation.evaluator import BATCH
from regbench.metrics.summary import mean_of
from regbench.metrics.uncertainty import Images
from regbench.ops.fidelity import structure_correlation
from regbench.ops.log_gabor import to_grey
from regbench.ops.perceptual import Perceptual, lpips_vgg16, random_features
from regbench.seeds import seed_of

CANDIDATES = ("translation", "source", "target")


def assess_translation(test_pairs: TestPairs, translator: Translator, batch: int = BATCH) -> dict[str, Any]:
    """Distances to the aligned target, and whose geometry the translation has, with 95 % intervals over test images.

    Args:
        test_pairs: of a set whose images are aligned.
        translator: judged in evaluation mode, its noise from fixed seeds.
        batch: pairs translated at once; the noise depends on it.

    Returns:
        ``l1`` (images in [0, 1]) and ``perceptual`` (``features`` says whose), each of ``translation``, ``source`` (in
        grey where the target is grey) and ``target``, with ``minus_source`` and ``minus_target``, paired differences:
        below zero the translation is better. ``follows_source`` and ``follows_target``, correlations of structure.
    """
    perceptual = _features().to(test_pairs.device)
    parts: dict[str, list[Tensor]] = {}
    translator.eval()
    with torch.inference_mode():
        for start in range(0, len(test_pairs), batch):
            stop = start + batch
            source, target = test_pairs.images(start, stop)
            truth = test_pairs.aligned_target(start, stop)
            generator = torch.Generator().manual_seed(seed_of("translation", start))
            translation = translator.translate(source, target, generator=generator).float()
            for name, value in {
                "follows_source": structure_correlation(translation, source),
                "follows_target": structure_correlation(translation, target),
            }.items():
                parts.setdefault(name, []).append(value)
            plain = to_grey(source).expand_as(source) if translator.info.target_channels == 1 else source
            for name, image in zip(CANDIDATES, (translation, plain, target), strict=True):
                parts.setdefault(f"l1 {name}", []).append((image - truth).abs().mean(dim=(1, 2, 3)))
                parts.setdefault(f"perceptual {name}", []).append(perceptual(image, truth))
    scores = {name: torch.cat(values).double().cpu().numpy() for name, values in parts.items()}
    images = Images(test_pairs.manifest.image.numpy())
    judged: dict[str, Any] = {name: mean_of(scores[name], images) for name in ("follows_source", "follows_target")}
    for distance in ("l1", "perceptual"):
        candidates = {name: scores[f"{distance} {name}"] for name in CANDIDATES}
        judged[distance] = {name: mean_of(values, images) for name, values in candidates.items()}
        for copy in ("source", "target"):
            judged[distance][f"minus_{copy}"] = mean_of(candidates["translation"] - candidates[copy], images)
    return judged | {"features": perceptual.source}


def _features() -> Perceptual:
    """Published LPIPS where its files are on this machine, else seeded random features; the result says which."""
    try:
        return lpips_vgg16()
    except DataError:
        return random_features()
