"""What the tests of the firewall look at: the sizes, the seed, and images without content.

Every image is its own random texture, so pixel values carry nothing that could be memorised, and the images are hardly
larger than patch + 2 rho, where borders would show most.
"""

import torch
import torch.nn.functional as F

PATCH, RHO, SIDE = 32, 8, 50
VIEWS = ("pair", "self_source", "self_target", "unpaired")
SEED = 20240607


def images():
    """400 textures of modality A and 400 of B, ``(SIDE, SIDE)`` uint8."""
    noise = torch.randn(800, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    noise = F.avg_pool2d(noise, 3, 1, 1)
    made = (128 + 60 * noise / noise.abs().amax()).round().byte()[:, 0].numpy()
    return list(made[:400]), list(made[400:])
