"""A translator before a registrator, as one registrator, which several strategies deploy."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import ComponentConfig, PairInfo, Registration, Registrator, Translator


class TranslateFirst(Registrator):
    """registrator ∘ translator: the translated source is registered to the target."""

    any_size = False

    def __init__(self, translator: Translator, registrator: Registrator, info: PairInfo) -> None:
        super().__init__(ComponentConfig(), info)
        self.translator, self.registrator = translator, registrator

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Register the translated source. Each pair's noise has the same seed, so that the batch does not matter."""
        translated = [
            self.translator.translate(s[None], t[None], generator=torch.Generator().manual_seed(0))
            for s, t in zip(source, target, strict=True)
        ]
        return self.registrator(torch.cat(translated), target)
