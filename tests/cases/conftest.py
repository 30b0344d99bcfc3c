"""Each test runs the command of one case of ``shared/cases`` on the case's own files, and checks what it expects."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import inline, packs, regbench, regbench_once  # noqa: F401  (fixtures)


@pytest.fixture
def case(tmp_path) -> Callable[[str], Path]:
    """Copy the files of a case into the folder of the test, which is the working folder: ``case("board-name")``."""

    def copy(name: str) -> Path:
        folder = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / name
        if not folder.is_dir():
            pytest.skip(f"no cases at {folder}")
        for source in folder.rglob("*"):
            if source.is_file():
                target = tmp_path / source.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        return tmp_path

    return copy


@pytest.fixture
def prepared(inline):  # noqa: F811
    """Prepare a data set in the working folder: ``prepared("folder", width=160)``; its pack."""
    from regbench.data.packs.pack import Pack

    def prepare(name: str, *arguments: str, **settings: object) -> Pack:
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        done = inline("datasets", "prepare", name, "--root", ".", *sets, *arguments, "--json")
        assert done.code == 0, done.err
        return Pack.open(Path(done.json["path"]))

    return prepare


LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in grey."""


def correlation(a, b) -> float:
    """Of the grey values of two images ``(C, H, W)``, in whatever unit."""
    a, b = (np.tensordot(LUMA[: len(image)], np.asarray(image, float), 1).ravel() for image in (a, b))
    return float(np.corrcoef(a, b)[0, 1])


def pairs_of(pack):
    """Key, A and B of every pair of a pack, ``(C, H, W)``."""
    for split in ("train", "test"):
        a, b = (pack.images(split, side).numpy() for side in ("a", "b"))
        yield from zip(pack.keys(split), a, b, strict=True)


def one_line(err: str) -> str:
    """The only line of standard error."""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    return lines[0]
