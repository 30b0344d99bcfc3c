"""How sure one can be of the estimate of every test pair: the confidence that boards find failures by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from regbench import geometry
from regbench.confidence.model import assess
from regbench.data.test_pairs import TestPairs
from regbench.evaluation.evaluator import BATCH, Evaluator
from regbench.results.pairs import Pairs


def with_confidence(test_pairs: TestPairs, registrator: nn.Module, pairs: Pairs, batch: int = BATCH) -> Pairs:
    """The same pairs with the confidence of each estimate.

    It is computed from the images and from registering every pair backwards, which every method can be asked for, so
    that rows of a board are compared on the same evidence. Matched points and second methods are not used.

    Args:
        test_pairs: the images.
        registrator: what made the estimates.
        pairs: the estimates.
        batch: pairs registered at once; results do not depend on it.
    """
    backward, answered = Evaluator(test_pairs, batch).estimates(registrator, backward=True)
    size = (test_pairs.patch, test_pairs.patch)
    there, back = (
        geometry.homography_from_displacement(torch.from_numpy(x).double(), size).numpy()
        for x in (pairs.estimate, backward)
    )
    found = []
    for start in range(0, len(pairs.ok), batch):
        sources, targets = (x.permute(0, 2, 3, 1).cpu().numpy() for x in test_pairs.images(start, start + batch))
        for i, (source, target) in enumerate(zip(sources, targets, strict=True), start):
            answer = there[i] if pairs.ok[i] else None
            found.append(assess(source, target, answer, reverse=back[i] if answered[i] else None).value)
    return replace(pairs, confidence=np.array(found, np.float32))
