"""A translator put before a registrator, as one registrator: what several strategies deploy."""

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
        """As the registrator. Each pair's noise starts from the same seed: alone or in a batch, the result is one."""
        translated = [
            self.translator.translate(s[None], t[None], generator=torch.Generator().manual_seed(0))
            for s, t in zip(source, target, strict=True)
        ]
        return self.registrator(torch.cat(translated), target)
