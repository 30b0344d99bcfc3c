"""Pairs per second of `prepare` and of the sampler, compared in one run with the way published loaders make pairs.

Published loaders (IHN, MCNet, SSHNet and others) work in DataLoader workers. For every sample they call cv2.imread,
resize to 320x240, cut a random 192 px window, call getPerspectiveTransform and warpPerspective, and convert the central
128 px of both windows to tensors. This script implements that procedure anew; no part of the authors' code belongs to
this project. A second form of it starts from images that are already decoded and resized. Both sides make (source,
target, displacement) of mscoco at 128 px.

    python benchmarks/data_throughput.py --root mscoco2017 [--seconds 10] [--workers 2] [--batch 16]

Prints one JSON line. ratio_with_decode and ratio_decoded are the sampler's rate over those of the two published forms.
ratio_prepare is the rate at which prepare decodes and stores images, over the rate of the published form with decoding.
pays_after is the number of passes over the images after which prepare and sampler together are faster.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from regbench.data.packs.prepare import prepare
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler
from regbench_datasets.mscoco import MSCOCO

PATCH, RHO = 128, 32
ENDLESS = 10**9


class PerSample(Dataset):
    """One pair per call, from files or from images in memory."""

    def __init__(self, files, images=None):
        self.files, self.images = files, images

    def __len__(self):
        return ENDLESS

    def __getitem__(self, index):
        i = index % len(self.files)
        image = self.images[i] if self.images is not None else load(self.files[i])
        h, w = image.shape[:2]
        x, y = random.randint(RHO, w - RHO - PATCH), random.randint(RHO, h - RHO - PATCH)
        window = image[y - RHO : y + PATCH + RHO, x - RHO : x + PATCH + RHO]
        corners = np.array([[0, 0], [PATCH - 1, 0], [0, PATCH - 1], [PATCH - 1, PATCH - 1]], np.float32) + RHO
        offsets = np.array([[random.randint(-RHO, RHO) for _ in range(2)] for _ in range(4)], np.float32)
        homography = cv2.getPerspectiveTransform(corners, corners + offsets)
        warped = cv2.warpPerspective(window, np.linalg.inv(homography), window.shape[1::-1])
        middle = slice(RHO, RHO + PATCH)
        source, target = (torch.from_numpy(np.ascontiguousarray(p[middle, middle])) for p in (warped, window))
        return (*(t.float().permute(2, 0, 1) / 255 for t in (source, target)), torch.from_numpy(offsets))


def load(path):
    return cv2.cvtColor(cv2.resize(cv2.imread(str(path)), (320, 240)), cv2.COLOR_BGR2RGB)


def one_thread(_):
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def rate(draw, batch, seconds):
    """Pairs per second of ``draw()``, after a second of warming up."""
    for limit in (1.0, seconds):
        start, done = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < limit:
            draw()
            done += batch
    return done / elapsed


def published_rate(files, images, args):
    """Pairs per second of the published procedure; ``images`` None: with decoding."""
    loader = DataLoader(
        PerSample(files, images),
        args.batch,
        num_workers=args.workers,
        worker_init_fn=one_thread,
        persistent_workers=True,
    )
    batches = iter(loader)
    return rate(lambda: next(batches), args.batch, args.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    files = sorted((args.root / "train2017").glob("*.jpg"))
    decode = published_rate(files, None, args)
    decoded = published_rate(files, [load(path) for path in files], args)
    with tempfile.TemporaryDirectory() as folder:
        times = []
        while sum(times) < args.seconds / 2 or len(times) < 3:
            start = time.perf_counter()
            pack = prepare(
                MSCOCO(MSCOCO.Config(), args.root), "mscoco", "1", Path(folder) / "p.h5", workers=args.workers
            )
            times.append(time.perf_counter() - start)
            images = sum(pack.counts.values())
            pack.path.rename(Path(folder) / "kept.h5")
        pack = pack.open(Path(folder) / "kept.h5")
        torch.set_num_threads(args.workers)
        sampler = PairSampler(pack, Protocol(pairing="online"), seed=0, labels=True)
        steps = iter(range(ENDLESS))
        sampled = rate(lambda: sampler.batch("s", next(steps), args.batch, ("pair",)), args.batch, args.seconds)
        all_views = ("pair", "self_source", "self_target", "unpaired")
        sampled_views = rate(lambda: sampler.batch("s", next(steps), args.batch, all_views), args.batch, args.seconds)
    prepared = images / min(times)
    report = {
        "published_with_decode": decode,
        "published_decoded": decoded,
        "prepare": prepared,
        "sampler": sampled,
        "sampler_all_views": sampled_views,
        "ratio_with_decode": sampled / decode,
        "ratio_decoded": sampled / decoded,
        "ratio_prepare": prepared / decode,
        "pays_after": 1 / prepared / max(1e-12, 1 / decode - 1 / sampled),
    }
    settings = {"batch": args.batch, "workers": args.workers, "images": images}
    print(json.dumps({name: round(value, 3) for name, value in report.items()} | settings))


if __name__ == "__main__":
    main()
