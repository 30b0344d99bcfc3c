"""Phase correlation: a translation is a linear phase between two spectra, a peak once transformed back."""

import torch
from pydantic import Field
from torch import Tensor

from regbench import ComponentConfig, PairInfo, Registration, Registrator


class PhaseShiftConfig(ComponentConfig):
    """Set one with ``--set registrator.blur=2``; ``regbench plugins info phase-shift`` lists them."""

    blur: int = Field(1, ge=0, description="radius of the box filter before gradients are taken, px")


class PhaseShift(Registrator):
    """Moves all four corners alike. Gradient magnitudes survive when a modality inverts the contrast."""

    Config = PhaseShiftConfig

    def __init__(self, config: PhaseShiftConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.blur = torch.nn.AvgPool2d(2 * config.blur + 1, stride=1, padding=config.blur, count_include_pad=False)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """``(B, 3, H, W)`` twice to a Registration of one iteration."""
        h, w = source.shape[-2:]
        first, second = (torch.fft.rfft2(self._gradient(x)) for x in (source, target))
        cross = second * first.conj()  # target(p + d) = source(p) gives a peak at d
        peak = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-9), s=(h, w)).flatten(1).argmax(dim=1)
        shift = torch.stack([peak % w, peak // w], dim=-1)  # x, y
        size = torch.tensor([w, h], device=shift.device)
        shift = torch.where(shift > size // 2, shift - size, shift).float()  # the spectrum is periodic
        return Registration(shift[None, :, None].expand(1, -1, 4, 2), (h, w))

    def _gradient(self, image: Tensor) -> Tensor:
        grey = self.blur(image.mean(dim=1, keepdim=True))[:, 0]
        dy, dx = torch.gradient(grey, dim=(1, 2))
        window = torch.outer(torch.hann_window(grey.shape[1]), torch.hann_window(grey.shape[2]))
        return (dx.square() + dy.square()).sqrt() * window.to(grey)
