"""``regbench register``: the homography between two images, or of many pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regbench.cli._shared.options import Named, PathType, RunType, WeightsType
from regbench.cli._shared.output import echo, echo_json

if TYPE_CHECKING:
    from regbench.alignment.types import Alignment

RANGE = (
    "Stored values of {} that are black and white: full, WHITE, LOW..HIGH or image:P; default: what the run recorded, "
    "all of 8 bits, else percentiles of the image."
)


@click.command("register")
@click.argument("source", type=PathType(), required=False)
@click.argument("target", type=PathType(), required=False)
@click.option(
    "--method",
    type=Named("registrator"),
    help="auto, a registrator such as sift, or RUN of a finished run.  [default: auto]",
)
@click.option("--run", "finished", type=RunType(), help="The same as --method RUN.")
@click.option("--registrator", type=Named("registrator"), help="The same as --method NAME.")
@click.option(
    "--weights", type=WeightsType(), help="Weights file of `import` or of a run; alone, it names its network."
)
@click.option("--set", "sets", multiple=True, metavar="registrator.NAME=VALUE", help="A setting of the method.")
@click.option("--pairs", "listed", type=PathType(), help="CSV file with columns source and target, instead of images.")
@click.option("--out", type=PathType(file_okay=False), help="Write everything into this folder.")
@click.option("--warped", type=PathType(), help="Write the source on the target's grid; .tif keeps the georeference.")
@click.option("--matrix", type=PathType(), help="Write the homography as text.")
@click.option("--overlay", type=PathType(), help="Write a picture to judge the answer by.")
@click.option("--points", type=PathType(), help="Write ground control points (GeoJSON); the target is a GeoTIFF.")
@click.option("--bands", metavar="N[,N,N]", help="Bands of both images to look at, from 1: one, or three.")
@click.option("--bands-source", metavar="N[,N,N]", help="Of SOURCE alone.")
@click.option("--bands-target", metavar="N[,N,N]", help="Of TARGET alone.")
@click.option("--nodata-source", type=float, help="Stored value of SOURCE that means no data.")
@click.option("--nodata-target", type=float, help="Stored value of TARGET that means no data.")
@click.option("--range-source", metavar="RULE", help=RANGE.format("SOURCE"))
@click.option("--range-target", metavar="RULE", help=RANGE.format("TARGET"))
@click.option(
    "--max-side",
    type=click.IntRange(16),
    help="Longest side at which the images are first looked at, px; default: 1024, less where memory is short.",
)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what is known as JSON.")
def command(
    source: Path | None,
    target: Path | None,
    method: str | None,
    finished: Path | None,
    registrator: str | None,
    weights: Path | None,
    sets: tuple[str, ...],
    listed: Path | None,
    max_side: int | None,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the homography that maps pixels of SOURCE to pixels of TARGET (pixel centres, x then y).

    SOURCE and TARGET are two images of any size and depth, or two folders of images with the same names. Exit code 1
    says that there is no answer.

    \b
    regbench register thermal.tif photo.jpg --out aligned
    regbench register sar.tif optical.tif --method rift --warped sar_on_optical.tif
    regbench register sar.png optical.png --method runs/supervised-mcnet-… --overlay seen.png
    regbench register thermal/ photos/ --out aligned
    """
    from regbench.alignment.batch import check_pairs

    what = _method(method, finished, registrator, weights)
    many = check_pairs(source, target, listed)
    outputs = {name: options.pop(name) for name in ("out", "warped", "matrix", "overlay", "points")}
    reading = _reading(options)
    how = {"max_side": max_side, "device": device, "weights": weights if weights != what else None}
    if many:
        _many(what, source, target, listed, outputs, {**how, **_settings(sets)}, reading, as_json)
    else:
        assert source is not None
        assert target is not None
        _one(what, source, target, outputs, {**how, **_settings(sets)}, reading, as_json)


def _one(
    what: str | Path,
    source: Path,
    target: Path,
    outputs: dict[str, Path | None],
    how: dict[str, Any],
    reading: dict[str, Any],
    as_json: bool,
) -> None:
    from regbench.alignment.aligner import load
    from regbench.alignment.saving import PICTURES, check_output, facts
    from regbench.alignment.types import CONFIDENT
    from regbench.errors import RegbenchError

    for name, kinds in (("warped", PICTURES), ("overlay", PICTURES), ("matrix", ()), ("points", ())):
        path = outputs[name]
        if path is not None:
            check_output(path, kinds, "an overlay" if name == "overlay" else "a warped image")
    found = load(what, **how).align(source, target, **reading)
    _warn(found, notes=not as_json)
    _write(found, outputs)
    if as_json:
        echo_json(json.dumps(facts(found)))
    elif found.ok:
        for row in found.homography.tolist():
            echo("  ".join(f"{value + 0.0: .9g}" for value in row))
        inliers = "" if found.inliers is None else f", {found.inliers} matches agree"
        echo(f"{found.method}: confidence {found.confidence:.2f}{inliers}", err=True)
    if not found.ok:
        tried = ", ".join(attempt.method for attempt in found.tried)
        raise RegbenchError(f"no answer was found for this pair (tried: {tried})")
    if found.confidence < CONFIDENT and not as_json:
        echo(f"warning: the confidence is {found.confidence:.2f}; look at --overlay FILE before you use this", err=True)


def _many(
    what: str | Path,
    source: Path | None,
    target: Path | None,
    listed: Path | None,
    outputs: dict[str, Path | None],
    how: dict[str, Any],
    reading: dict[str, Any],
    as_json: bool,
) -> None:
    from regbench.alignment.aligner import load
    from regbench.alignment.batch import RESULTS, align_files, pairs_of_folders, pairs_of_list
    from regbench.errors import RegbenchError, UsageError

    out = outputs["out"]
    if out is None or any(outputs[name] is not None for name in outputs if name != "out"):
        raise UsageError("many pairs are written with --out DIR: a folder for each, and results.csv")
    alone: list[str] = []
    if listed is not None:
        pairs = pairs_of_list(listed)
    else:
        assert source is not None
        assert target is not None
        pairs, alone = pairs_of_folders(source, target)
    if alone:
        echo(f"left out {len(alone)} images without a partner, such as {alone[0]}", err=True)
    failed = align_files(load(what, **how), pairs, out, reading, lambda line: echo(line, err=True))
    if as_json:
        echo_json(json.dumps({"pairs": len(pairs), "failed": failed, "results": str(out / RESULTS)}))
    else:
        echo(f"{len(pairs) - failed} of {len(pairs)} pairs: {out / RESULTS}")
    if failed:
        raise RegbenchError(f"{failed} of {len(pairs)} pairs have no answer; {out / RESULTS} says why")


def _method(method: str | None, run: Path | None, registrator: str | None, weights: Path | None) -> str | Path:
    """The one method that is named; ``auto`` where none is."""
    from regbench.errors import UsageError

    named = [word for word in (method, run, registrator) if word is not None]
    if len(named) > 1:
        raise UsageError("name one of --method, --run and --registrator")
    if not named:
        return weights or "auto"
    if method is not None and ("/" in method or Path(method).expanduser().is_dir()):
        return Path(str(RunType().convert(method, None, None)))
    return named[0]


def _settings(sets: Sequence[str]) -> dict[str, Any]:
    from regbench.errors import UsageError
    from regbench.settings import parse_sets

    parsed = parse_sets(sets)
    if other := sorted(set(parsed) - {"registrator"}):
        raise UsageError(f"--set {other[0]}.…: only the method has settings here, write registrator.NAME=VALUE")
    return dict(parsed.get("registrator", {}))


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    """How the images are read, from the options."""
    from regbench.errors import UsageError

    both = options.pop("bands")
    for side in ("bands_source", "bands_target"):
        text = options[side] or both
        if text is not None and not re.fullmatch(r"\d+(,\d+)*", text):
            raise UsageError(f"--{side.replace('_', '-')} {text}: write numbers of bands, such as 4 or 3,2,1")
        options[side] = None if text is None else tuple(int(number) for number in text.split(","))
    return options


def _write(found: Alignment, outputs: dict[str, Path | None]) -> None:
    from regbench.alignment import saving

    if outputs["out"] is not None:
        found.save(outputs["out"])
    if outputs["overlay"] is not None:
        saving.write_overlay(found, outputs["overlay"])
    if found.ok:
        for name in ("warped", "matrix", "points"):
            path = outputs[name]
            if path is not None:
                getattr(saving, f"write_{name}")(found, path)


def _warn(found: Alignment, notes: bool) -> None:
    """Say what looks wrong in the images and, if notes are wanted, what was decided for the user."""
    for side, image in zip(("source", "target"), found.images(), strict=True):
        for note in image.notes if notes else ():
            echo(note, err=True)
        if image.little_used:
            echo(
                f"warning: {image.name} uses {100 * image.used:.1f} % of its range {image.values} ({image.how}), so it "
                f"has hardly any contrast; say which values are black and white: --range-{side} LOW..HIGH or image:0.5",
                err=True,
            )
