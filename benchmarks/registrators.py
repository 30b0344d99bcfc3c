"""Size and speed of every registrator that is trained, at its published size, on the machine at hand.

    python benchmarks/registrators.py [NAME ...] [--device auto] [--threads 1] [--repeats 20] [--json]

A table: parameters, milliseconds a pair at batch 1 and at batch 16, pairs a second at batch 16. Medians, with the width
of the interval the middle half lies in. Inputs are textured pairs of 128 px, weights are random: times of networks do
not depend on them. ReDFeat's do, since it matches as many keypoints as it finds; with ``--weights FILE`` of a trained
one (and its name alone) they are real. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from tabulate import tabulate

from regbench.api.types import PairInfo
from regbench.config import Protocol
from regbench.engine.context import RunContext
from regbench.engine.plan import choose, device_of
from regbench.errors import RegbenchError
from regbench.metrics.timing import device_sync, measure
from regbench.plugins import registry
from regbench.testing.images import labelled_pair

BATCH = 16


def timed(name: str, args: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """One row: a registrator built, checked to answer, and timed."""
    chosen = choose("registrator", name, {"preset": args.preset} if args.preset else {}, None)
    protocol = Protocol(patch=args.patch, rho=args.patch // 4)
    info = PairInfo(protocol.patch, protocol.rho)
    network = RunContext(info, device, {"registrator": chosen}, 0, weights=args.weights).registrator().eval()
    source, target, _ = (x.to(device) for x in labelled_pair(BATCH, protocol))
    row: dict[str, object] = {"name": name, "parameters": sum(p.numel() for p in network.parameters())}
    with torch.inference_mode():
        for batch in (1, BATCH):
            pairs = source[:batch], target[:batch]
            found = measure(
                lambda pairs=pairs: network.register(*pairs),
                warmup=args.warmup,
                repeats=args.repeats,
                sync=device_sync(device),
            )
            row[f"ms_per_pair_{batch}"] = found.median_ms / batch
            row[f"iqr_ms_{batch}"] = found.iqr_ms / batch
            row[f"pairs_per_s_{batch}"] = 1e3 * batch / found.median_ms
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="registrators; default: all that are trained")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of torch on a CPU; default: torch's own choice")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls")
    parser.add_argument("--warmup", type=int, default=3, help="calls before them")
    parser.add_argument("--patch", type=int, default=128, help="px")
    parser.add_argument("--preset", help="another size than the published one")
    parser.add_argument("--weights", type=Path, help="safetensors of the one registrator named")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    args = parser.parse_args()
    if args.weights and len(args.names) != 1:
        parser.error("--weights fits one registrator: name it")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        device = device_of(args.device)
        names = args.names or [c.name for c in registry().all("registrator") if "train" in c.provides]
        rows = [timed(name, args, device) for name in names]
    except RegbenchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    machine = {"device": f"{device.type} ({model})", "threads": torch.get_num_threads(), "torch": torch.__version__}
    if args.json:
        print(json.dumps({**machine, "patch": args.patch, "repeats": args.repeats, "rows": rows}, indent=1))
        return
    print(
        ", ".join(f"{key} {value}" for key, value in machine.items()) + f", {args.patch} px, {args.repeats} repeats\n"
    )
    header = ["registrator", "parameters", "ms/pair, batch 1", "IQR", f"ms/pair, batch {BATCH}", "IQR", "pairs/s"]
    cells = [
        [
            row["name"],
            f"{row['parameters']:,}",
            *(f"{row[f'{key}_{batch}']:.2f}" for batch in (1, BATCH) for key in ("ms_per_pair", "iqr_ms")),
            f"{row[f'pairs_per_s_{BATCH}']:.1f}",
        ]
        for row in rows
    ]
    print(tabulate(cells, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 6))


if __name__ == "__main__":
    main()
