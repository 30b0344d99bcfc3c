"""A history of generated images that keeps a discriminator from forgetting older ones (Shrivastava et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regbench import whole_batch


class ImagePool(nn.Module):
    """A store of earlier fakes, some of which replace new ones. The store is saved with the weights, for a resume.

    The number of stored images follows from the step, so that nothing is read back from the device.

    Args:
        size: images it holds; with 0 it returns every image unchanged.
        shape: ``(C, H, W)`` of an image.
    """

    images: Tensor

    def __init__(self, size: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))

    @torch.no_grad()
    def swap(self, fakes: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """Images for the discriminator, ``(B, C, H, W)``, detached.

        Until the pool is full, each image is stored and returned. From then on, with probability one half, an image
        takes the place of a stored one, which is returned instead. Processes that share a batch hold the same pool.

        Args:
            fakes: the new images.
            step: of the stage, from 0; each earlier step has brought as many images as this one.
            generator: on the CPU.
        """
        fakes = fakes.detach()
        if not self.size:
            return fakes
        fakes, returned = whole_batch.gather(fakes), []
        draws = torch.rand(len(fakes), 2, generator=generator).tolist()
        for i, (image, (coin, place)) in enumerate(zip(fakes, draws, strict=True)):
            seen = step * len(fakes) + i
            if seen < self.size:
                self.images[seen] = image
            elif coin < 0.5:
                slot = int(place * self.size)
                image, self.images[slot] = self.images[slot].clone(), image
            returned.append(image)
        return whole_batch.own(torch.stack(returned).to(fakes.dtype))
