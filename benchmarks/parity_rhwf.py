"""RHWF of regbench compared with its published code on identical pairs.

You need a clone of the authors' repository (github.com/imdumpl78/RHWF), which holds their checkpoints; no part of
either belongs to this project. The authors' attention is a CUDA extension without a CPU version; plain loops over the
shifts replace it.

    python benchmarks/parity_rhwf.py --peer RHWF --scales 1 --checkpoint RHWF/results/mscoco_6/RHWF.pth \\
        --root mscoco2017 [--pairs 64]

Without ``--checkpoint`` both networks get the same random weights. Prints one JSON line: number of pairs, MACE of both,
largest and median difference of their estimates.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from types import SimpleNamespace

import kornia
import torch
import torch.nn.functional as F

from regbench import geometry
from regbench.data.manifest import test_manifest
from regbench.data.packs.prepare import ensure
from regbench.data.protocol import Protocol
from regbench.data.test_pairs import TestPairs
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.tools.import_weights import import_checkpoint
from regbench.weights.files import load_weights
from regbench.weights.published import read_published


def correlate(first, second, out, side, pad, _stride):
    """Write the dot products of a padded channels-last map with every shift of another to ``out (B, H, W, side^2)``."""
    h, w = out.shape[1:3]
    centre = first[:, pad : pad + h, pad : pad + w]
    for i in range(side * side):
        y, x = divmod(i, side)
        out[..., i] = (centre * second[:, y : y + h, x : x + w]).sum(-1)


def aggregate(weights, values, out, side, _pad, _stride):
    """Add the weighted sum of the shifts of a padded channels-last map to ``out (B, H, W, C)``."""
    h, w = out.shape[1:3]
    for i in range(side * side):
        y, x = divmod(i, side)
        out += weights[..., i : i + 1] * values[:, y : y + h, x : x + w]


def stand_ins() -> None:
    """Replace what the authors' code imports: its extension, ``Tensor.cuda``, packages that only draw or read files."""
    for name in ("torchvision", "torchgeometry", "scipy", "scipy.io", "scipy.interpolate", "skimage", "skimage.io"):
        root = name.split(".")[0]
        if isinstance(sys.modules.get(root), MissingModule) or importlib.util.find_spec(root) is None:
            sys.modules[name] = MissingModule(name)
    sys.modules["torchgeometry"] = MissingModule("torchgeometry")
    sys.modules["torchgeometry"].get_perspective_transform = kornia.geometry.get_perspective_transform
    sys.modules["at_cuda"] = MissingModule("at_cuda")
    sys.modules["at_cuda"].forward = correlate
    sys.modules["at_cuda"].channel_forward = aggregate
    torch.Tensor.cuda = lambda tensor, *_: tensor
    F.upsample_bilinear = lambda x, _, scale: F.interpolate(
        x, scale_factor=tuple(scale), mode="bilinear", align_corners=True
    )


class MissingModule(types.ModuleType):
    """Replaces a module that is not installed; every name imported from it is None."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def published(repository: Path, checkpoint: Path | None, scales: int) -> torch.nn.Module:
    """The authors' network from a clone, with the weights of the checkpoint or random ones."""
    sys.path.insert(0, str(repository.resolve()))
    stand_ins()
    from rhwf import RHWF

    torch.manual_seed(0)
    net = RHWF(SimpleNamespace(gpuid=[0], lev0=True, lev1=scales == 2))
    if checkpoint:
        net.load_state_dict(read_published(checkpoint))
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--scales", type=int, choices=(1, 2), default=1)
    parser.add_argument("--pairs", type=int, default=64)
    args = parser.parse_args()
    pack = ensure("mscoco", root=args.root)
    manifest = test_manifest(pack, Protocol())
    test_pairs = TestPairs(pack, manifest, Protocol())
    theirs = published(args.peer, args.checkpoint, args.scales)
    name = {1: "rhwf1", 2: "rhwf"}[args.scales]
    network = registrator_alone(configure("registrator", name)).eval()
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "theirs.pth"), Path(folder, "ours.safetensors")
        torch.save(theirs.state_dict(), file)
        import_checkpoint(name, file, weights)
        load_weights(network, weights)
    count = min(args.pairs, len(manifest.draws))
    iterations = (6, 6 if args.scales == 2 else 0)
    a, b = [], []
    with torch.inference_mode():
        for start in range(0, count, 8):
            source, target = test_pairs.images(start, min(start + 8, count))
            a.append(network(source, target).displacement)
            corners = theirs(255 * source, 255 * target, *iterations, test_mode=True)
            b.append(corners.permute(0, 2, 3, 1).reshape(-1, 4, 2))
    first, second = torch.cat(a), torch.cat(b)
    truth = manifest.draws.displacement[:count]
    report = {
        "network": name,
        "pairs": count,
        "mace_regbench": round(float(geometry.corner_error(first, truth).mean()), 5),
        "mace_published": round(float(geometry.corner_error(second, truth).mean()), 5),
        "largest_difference_px": float((first - second).norm(dim=-1).max()),
        "median_difference_px": float((first - second).norm(dim=-1).median()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
