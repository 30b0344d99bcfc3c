"""A history of generated images, so that a discriminator does not forget what it has seen (Shrivastava et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regbench import whole_batch


class ImagePool(nn.Module):
    """The last fakes, some of them swapped in for new ones; part of the weights, so that a resume finds it again.

    How full it is follows from the step, so nothing is read back from the device.

    Args:
        size: images it holds; 0 hands every image on.
        shape: ``(C, H, W)`` of an image.
    """

    images: Tensor

    def __init__(self, size: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))

    @torch.no_grad()
    def swap(self, fakes: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """Images for the discriminator ``(B, C, H, W)``, detached.

        Until the pool is full each image is stored and handed on; from then on, with probability one half, it takes
        the place of a stored one, which is handed out instead. Processes that share a batch all hold the same pool.

        Args:
            fakes: the new images.
            step: of the stage, from 0; each earlier step has brought as many images as this one.
            generator: on the CPU.
        """
        fakes = fakes.detach()
        if not self.size:
            return fakes
        fakes, handed = whole_batch.gather(fakes), []
        draws = torch.rand(len(fakes), 2, generator=generator).tolist()
        for i, (image, (coin, place)) in enumerate(zip(fakes, draws, strict=True)):
            seen = step * len(fakes) + i
            if seen < self.size:
                self.images[seen] = image
            elif coin < 0.5:
                slot = int(place * self.size)
                image, self.images[slot] = self.images[slot].clone(), image
            handed.append(image)
        return whole_batch.own(torch.stack(handed).to(fakes.dtype))
