"""MCNet of regbench compared with its published code on identical pairs.

You need a clone of the authors' repository (github.com/zjuzhk/MCNet) and its checkpoint; no part of either belongs to
this project. The authors' correlation is a CUDA kernel without a CPU version; a plain loop over the 81 shifts replaces
it.

    regbench weights import mcnet mscoco.pth --out mcnet.safetensors
    python benchmarks/parity_mcnet.py --peer MCNet --checkpoint mscoco.pth --weights mcnet.safetensors \\
        --root mscoco2017 [--pairs 256]

Prints one JSON line: number of pairs, MACE of both, largest and median difference of their estimates.
"""

from __future__ import annotations

import argparse
import json
import sys
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
from regbench.weights.published import read_published


def shift_loop(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The 9 x 9 local correlation of ``(B, C, H, W)`` maps, one shift after the other: ``(B, 81, H, W)``."""
    h, w = first.shape[-2:]
    padded = F.pad(second, (4, 4, 4, 4))
    return torch.stack([(first * padded[..., y : y + h, x : x + w]).mean(1) for y in range(9) for x in range(9)], 1)


def published(repository: Path, checkpoint: Path | None) -> torch.nn.Module:
    """The authors' network from a clone, with the weights of the checkpoint or random ones."""
    sys.path.insert(0, str(repository.resolve()))
    # Their code imports a CUDA kernel, a plotting package and the retired torchgeometry, which are replaced here.
    for absent in ("corr_implement", "seaborn", "torchgeometry"):
        sys.modules[absent] = types.ModuleType(absent)
    sys.modules["torchgeometry"].get_perspective_transform = kornia.geometry.get_perspective_transform
    sys.modules["corr_implement"].FunctionCorrelation = shift_loop
    from network import MCNet

    net = MCNet(SimpleNamespace(downsample=[4, 2, 1], iter=[2, 2, 2]))
    if checkpoint:
        net.load_state_dict({k.removeprefix("module."): v for k, v in read_published(checkpoint).items()})
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--peer", "--checkpoint", "--weights", "--root"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=256)
    args = parser.parse_args()
    pack = ensure("mscoco", root=args.root)
    manifest = test_manifest(pack, Protocol())
    test_pairs = TestPairs(pack, manifest, Protocol())
    network = registrator_alone(configure("registrator", "mcnet"), weights=args.weights).eval()
    theirs = published(args.peer, args.checkpoint)
    count = min(args.pairs, len(manifest.draws))
    a, b = [], []
    with torch.inference_mode():
        for start in range(0, count, 8):
            source, target = test_pairs.images(start, min(start + 8, count))
            a.append(network(source, target).displacement)
            b.append(theirs({"patch_img1_warp": source, "patch_img2": target})[-1])
    first, second = torch.cat(a), torch.cat(b)
    truth = manifest.draws.displacement[:count]
    report = {
        "pairs": count,
        "mace_regbench": round(float(geometry.corner_error(first, truth).mean()), 5),
        "mace_published": round(float(geometry.corner_error(second, truth).mean()), 5),
        "largest_difference_px": float((first - second).norm(dim=-1).max()),
        "median_difference_px": float((first - second).norm(dim=-1).median()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
