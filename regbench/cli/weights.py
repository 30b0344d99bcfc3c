"""``regbench weights``: published checkpoints as safetensors, trained networks as ONNX."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from regbench.cli._shared.options import PathType, RunType, WeightsType
from regbench.cli._shared.output import echo, echo_json


@click.group("weights")
def command() -> None:
    """Fetch and import published checkpoints; export registrators as ONNX."""


@command.command("import")
@click.argument("name")
@click.argument("file", type=PathType())
@click.option("--out", type=PathType(), required=True, help="Safetensors file to write.")
@click.option("--set", "sets", multiple=True, metavar="registrator.NAME=VALUE", help="Settings of the network.")
@click.option("--supervision", type=click.Choice(["none", "homography"]), default="homography", show_default=True,
              help="Labels the weights were trained with; recorded in every result that uses them.")  # fmt: skip
@click.option("--part", metavar="KEY", help="One of several networks in FILE, such as SSHNet-D.")
def import_(name: str, file: Path, out: Path, sets: tuple[str, ...], supervision: str, part: str | None) -> None:
    """Convert the published checkpoint FILE of the registrator NAME. Every key of the file must be used.

    \b
    regbench weights import mcnet mcnet_mscoco.pth --out mcnet.safetensors
    """
    from regbench.settings import parse_sets
    from regbench.tools.import_weights import import_checkpoint

    count = import_checkpoint(name, file, out, parse_sets(sets).get("registrator", {}), supervision, part)
    echo(f"{out}: {count:,} parameters")


@command.command("export")
@click.argument("what", metavar="RUN_OR_NAME")
@click.option("--out", type=PathType(dir_okay=False), required=True, help="ONNX file to write.")
@click.option("--weights", type=WeightsType(), help="Goes with a name: weights file of `import` or of a run.")
@click.option("--set", "sets", multiple=True, metavar="SECTION.NAME=VALUE",
              help="Goes with a name: a setting of registrator or protocol, such as protocol.patch=64.")  # fmt: skip
def export(what: str, out: Path, weights: Path | None, sets: tuple[str, ...]) -> None:
    """Write a registrator that is a network as ONNX, and compare the file with the network.

    Inputs source and target (N, 3, H, W) in [0, 1] at the network's patch; outputs displacement (N, 4, 2), pixels at
    the source corners TL, TR, BL, BR, and ok (N,).

    \b
    regbench weights export runs/supervised-mcnet-… --out mcnet.onnx
    regbench weights export mcnet --weights mcnet.safetensors --out mcnet.onnx
    """
    from regbench.settings import parse_sets
    from regbench.tools.onnx_export import export_onnx

    exported = export_onnx(_run_or_name(what), out, weights=weights, settings=parse_sets(sets))
    batch = "any batch size" if exported.dynamic else f"only batches of {exported.batch}"
    echo(
        f"{out}: {exported.parameters:,} parameters, {batch}; on random images it differs from the network by at most "
        f"{exported.difference:.2g} px"
    )


def _run_or_name(what: str) -> str:
    """The directory of a finished run where a text is a path, else the text."""
    path = os.path.expanduser(what)
    return str(RunType().convert(path, None, None)) if os.sep in path or os.path.isdir(path) else what


@command.command("fetch")
@click.argument("name", required=False)
@click.option("--sha256", metavar="HASH", help="What the file must be; needed where its publisher states none.")
@click.option("--out", type=PathType(), help="Folder or file to write; default: torch.hub's cache, where methods look.")
def fetch_(name: str | None, sha256: str | None, out: Path | None) -> None:
    """Download published weights: a file by name, or by its address. Without NAME, list what is known.

    \b
    regbench weights fetch
    regbench weights fetch vgg16
    regbench weights fetch loftr-outdoor --sha256 HASH
    """
    from regbench.tools.fetch_weights import CATALOGUE, fetch

    if name is None:
        for entry in CATALOGUE.values():
            echo(f"{entry.name}: {entry.use}\n  {entry.url}" + ("" if entry.sha256 else "\n  needs --sha256"))
        return
    last = [-1]

    def tell(done: int, total: int | None) -> None:
        tenths = 10 * done // total if total else done // 2**24
        if tenths != last[0]:
            last[0] = tenths
            echo(f"{done / 1e6:.0f} MB" + (f" of {total / 1e6:.0f}" if total else ""), err=True)

    echo(str(fetch(name, sha256=sha256, out=out, progress=tell)))


@command.command("info")
@click.argument("file", type=PathType())
@click.option("--json", "as_json", is_flag=True)
def info(file: Path, as_json: bool) -> None:
    """Print the metadata of a weights file."""
    from regbench.weights.files import read_tensors

    tensors, metadata = read_tensors(file)
    facts = dict(metadata) | {"tensors": len(tensors), "values": sum(t.numel() for t in tensors.values())}
    if as_json:
        echo_json(json.dumps(facts, indent=1))
        return
    for key, value in facts.items():
        echo(f"{key}: {value}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """List the registrators whose published checkpoints can be imported."""
    from regbench.plugins.registry import registry

    rows = [
        {"name": c.name, "paper": c.paper}
        for c in registry().all("registrator")
        if "train" in c.provides and c.load().published_keys
    ]
    if as_json:
        echo_json(json.dumps(rows, indent=1))
        return
    for row in rows:
        echo(f"{row['name']}  {row['paper']}")
