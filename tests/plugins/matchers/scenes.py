"""Mono-modal pairs whose homography is known, for every test of a matcher."""

import cv2
import numpy as np
import torch

from regbench import geometry
from regbench.data.pairs import draw_pairs
from regbench.data.protocol import Protocol
from regbench.data.synthetic import Synthetic, SyntheticConfig


def textured(seed=0, side=320):
    """Blobs and edges at several scales, RGB in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 0.5, np.float32)
    for _ in range(400):
        colour = rng.uniform(0, 1, 3).tolist()
        x, y = rng.integers(0, side, 2).tolist()
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), int(rng.integers(2, 14)), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x, y), (x + int(rng.integers(3, 24)), y + int(rng.integers(3, 24))), colour, -1)
    return torch.from_numpy(cv2.GaussianBlur(image, (0, 0), 0.8)).permute(2, 0, 1)[None]


def pair(seed, displacement, patch=224, origin=48.0):
    """Source and target cut from :func:`textured`, in one interpolation each."""
    return cut_pair(textured(seed), displacement, patch, torch.tensor([[origin, origin]]))


def cut_pair(images, displacement, patch, origin):
    shift = geometry.translation(origin)
    h = geometry.homography_from_displacement(displacement, (patch, patch))
    return geometry.sample(images, shift @ h, (patch, patch)), geometry.sample(images, shift, (patch, patch))


def moved(count, rho=24, seed=0):
    return torch.randint(-rho, rho + 1, (count, 4, 2), generator=torch.Generator().manual_seed(seed)).float()


def batch_of(count, rho, patch=160, seed=0):
    """Source, target, displacement of ``count`` pairs."""
    truth = moved(count, rho, seed)
    made = [pair(seed + i, truth[i : i + 1], patch, 80.0) for i in range(count)]
    return torch.cat([s for s, _ in made]), torch.cat([t for _, t in made]), truth


def synthetic_pairs(count, patch, rho, seed=0):
    """Pairs of one modality of the embedded data, drawn as the harness draws them."""
    scenes = Synthetic(SyntheticConfig(train=count, test=1))
    images = [np.asarray(scenes.read("train", key).a) for key in scenes.keys("train")]
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    protocol = Protocol(patch=patch, rho=rho)
    draws = draw_pairs(torch.arange(count), tuple(stack.shape[-2:]), protocol, torch.Generator().manual_seed(seed))
    return *cut_pair(stack, draws.displacement, patch, draws.origin), draws.displacement


def similarity(angle, scale, shift, patch):
    """Displacement ``(1, 4, 2)`` of a rotation (radians) and scale about the centre, then a shift."""
    a = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    corners = geometry.corners((patch, patch), dtype=torch.float64)
    centre = corners.mean(dim=0)
    return ((corners - centre) @ a.T + centre + torch.tensor(shift) - corners)[None].float()


def nothing():
    """Pairs without an answer, by name."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 1, 3, 128, 128, generator=generator)
    flat = torch.full((1, 3, 128, 128), 0.5)
    return {
        "flat": (flat, flat),
        "noise": (noise[0], noise[1]),
        "unrelated": (textured(8, 128), torch.rand(1, 3, 128, 128, generator=generator)),
        "one flat": (textured(8, 128), flat),
    }
