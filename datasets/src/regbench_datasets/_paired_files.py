"""What readers of aligned pairs share: a reader lists the two files of every pair, the rest follows from the list."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from regbench import ComponentConfig, DataError, Dataset, PairImages, Split
from regbench.data.naming import images_in, layout_error, matched
from regbench.data.reading import read_aligned


class Files(NamedTuple):
    """Where the two images of a pair lie."""

    a: Path
    b: Path


class PairedFiles(Dataset):
    """Base of readers whose pairs are two files of the same place and size.

    A reader says where they lie (:meth:`files`). Its settings hold ``size``, the side of square images in the pack, or
    ``height`` and ``width``.
    """

    config: Any

    def __init__(self, config: ComponentConfig, root: Path | None) -> None:
        super().__init__(config, root)
        self._listed: dict[Split, dict[str, Files]] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the pack, as set."""
        if hasattr(self.config, "size"):
            return (self.config.size, self.config.size)
        return (self.config.height, self.config.width)

    @abstractmethod
    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs of a split by their keys, in order; looked up once.

        Raises:
            DataError: the layout does not fit or a partner is missing.
        """

    def keys(self, split: Split) -> Sequence[str]:
        """The keys of :meth:`files`; raises what it raises."""
        return list(self._pairs(split))

    def read(self, split: Split, key: str) -> PairImages:
        """Decode a pair; raises DataError naming the file, or the key where the split has none of that name."""
        pairs = self._pairs(split)
        if key not in pairs:
            raise DataError(f"{self.card.title}: no pair {key!r} in the {split} split")
        return PairImages(*read_aligned(*pairs[key]))

    def folder(self, where: Path, name: str) -> Path:
        """The folder ``name`` below another; raises DataError, with the layout, where it is not there."""
        if not (where / name).is_dir():
            raise layout_error(self.card, where, f"there is no folder {name}/")
        return where / name

    def _pairs(self, split: Split) -> dict[str, Files]:
        if split not in self._listed:
            assert self.root is not None
            self._listed[split] = self.files(self.root, split)
        return self._listed[split]


def images_called(folder: Path, *patterns: str) -> list[dict[str, Path]]:
    """The images of a folder whose stems fit patterns such as ``{}_rgb``, by what stands for the braces.

    Args:
        folder: where they lie.
        patterns: how they are called, in any case.

    Returns:
        One dictionary a pattern.

    Raises:
        DataError: an image fits none of the patterns; names it.
    """
    found: list[dict[str, Path]] = [{} for _ in patterns]
    shapes = [re.compile(re.escape(p).replace(r"\{\}", "(.+)"), re.IGNORECASE) for p in patterns]
    for stem, path in images_in(folder).items():
        for images, shape in zip(found, shapes, strict=True):
            if match := shape.fullmatch(stem):
                images[match[1]] = path
                break
        else:
            called = " or ".join(f"{p.replace('{}', '<N>')}.*" for p in patterns)
            raise DataError(f"{path} is not named {called}; rename it, or take it out of the folder")
    return found


def paired(a: dict[str, Path], b: dict[str, Path], called: tuple[str, str] | None = None) -> dict[str, Files]:
    """Files of one key together, in natural order of the keys.

    Args:
        a: the files of modality A.
        b: the files of modality B.
        called: patterns of the file names of A and B, such as ``opt{}.png``, to name a partner that is missing where
            both lie in one folder.

    Raises:
        DataError: a partner is missing; names the file that is alone.
    """
    alone = set(a) ^ set(b)
    if called is not None and alone:
        key = min(alone)
        have, lack = (a, called[1]) if key in a else (b, called[0])
        raise DataError(f"{have[key]} has no partner {lack.format(key)}")
    return {key: Files(*both) for key, both in matched(a, b).items()}
