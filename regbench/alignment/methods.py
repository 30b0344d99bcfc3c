"""What estimates a homography: a registrator by name, with weights, or of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from regbench.alignment.images import Floats
from regbench.alignment.types import Matches, Matrix
from regbench.api.registrator import Registrator
from regbench.api.types import PairInfo
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.plugins.registry import registry
from regbench.results.layout import RESULT
from regbench.runs.build import registrator_alone
from regbench.runs.finished import open_run
from regbench.runs.request import configure, device_of
from regbench.weights.files import read_metadata


@dataclass(frozen=True)
class Found:
    """What a method says of a pair of images of working size, in their pixels."""

    homography: Matrix | None
    """Source pixels to target pixels; None where there is no answer."""
    matches: Matches | None = None


@dataclass(frozen=True)
class Method:
    """A registrator, ready to use.

    Attributes:
        name: as registered.
        network: the registrator, in evaluation mode.
        device: where it computes.
        ranges: what it knows of the stored values of source and target, see
            :func:`regbench.data.value_ranges.recorded`.
    """

    name: str
    network: Registrator
    device: torch.device
    ranges: tuple[str | None, str | None] = (None, None)

    @property
    def patch(self) -> int | None:
        """Side of the square images it takes; None where it takes any size."""
        return None if self.network.any_size else self.network.info.patch

    @property
    def any_scale(self) -> bool:
        """Whether a difference of scale does not matter to it."""
        return self.network.any_scale

    @property
    def whole(self) -> bool:
        """Whether it needs all that both images show, so that tiles are not for it."""
        return self.network.whole

    def find(self, source: Floats, target: Floats) -> Found:
        """Estimate the homography of one pair; see :meth:`find_each`."""
        return self.find_each([source], [target])[0]

    def find_each(self, sources: Sequence[Floats], targets: Sequence[Floats]) -> list[Found]:
        """Estimate the homographies of pairs.

        Args:
            sources: images ``(h, w, 3)`` in [0, 1]; all of one size if there are several.
            targets: likewise.

        Raises:
            RegbenchError: memory does not suffice.
        """
        tensors = [_batch(images).to(self.device) for images in (sources, targets)]
        try:
            with torch.inference_mode():
                registration = self.network.register(tensors[0], tensors[1])
        except (MemoryError, RuntimeError, cv2.error) as error:
            if not _of_memory(error):
                raise
            sizes = " and ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in tensors)
            raise RegbenchError(
                f"{self.name}: images of {sizes} px take more memory than there is; give a smaller --max-side"
            ) from error
        assert registration.ok is not None
        if not registration.ok.any():
            return [Found(None)] * len(sources)
        homographies = registration.homography.cpu().numpy()
        matches = registration.matches or (None,) * len(homographies)
        return [
            Found(np.asarray(h), m) if good and np.isfinite(h).all() else Found(None, m)
            for h, good, m in zip(homographies, registration.ok.tolist(), matches, strict=True)
        ]


def method_of(
    what: str | Path, device: str = "cpu", weights: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Method:
    """Load a method.

    Args:
        what: name of a registrator, directory of a finished run, or a weights file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        weights: file for a registrator that is named.
        settings: of the registrator, by name.

    Raises:
        UsageError: there is no such registrator or setting, or it has to be trained and there are no weights.
        DataError: the run is not finished, or a file is missing or broken.
    """
    where, settings = device_of(device), dict(settings or {})
    text = str(what)
    path = Path(text).expanduser()
    named = registry().find("registrator", text) is not None
    if not named and path.name == RESULT and path.is_file():
        path = path.parent
    if not named and path.is_dir():
        if settings or weights is not None:
            raise UsageError(
                f"{text}: a finished run has its own settings and weights; name its registrator for others"
            )
        run = open_run(path, where)
        return Method(run.result.identity.registrator.name, run.registrator, where, run.ranges)
    if not named and path.is_file():
        component = read_metadata(path).get("component")
        if component is None:
            raise DataError(f"{path}: does not say which registrator it is of; give its name with --method")
        text, weights = component, path
    elif not named and ("/" in text or path.suffix):
        raise DataError(f"{path}: no such run directory or weights file")
    metadata = {} if weights is None else read_metadata(weights)
    registrator = configure("registrator", text, settings)
    patch = metadata.get("patch")
    network = registrator_alone(
        registrator,
        PairInfo(patch=int(patch)) if patch else None,
        where,
        weights=weights,
        untrained="give --weights FILE, or --method RUN of a finished run",
    ).eval()
    return Method(text, network, where, (metadata.get("range_source"), metadata.get("range_target")))


def _batch(images: Sequence[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def _of_memory(error: BaseException) -> bool:
    """Whether torch, NumPy or OpenCV could not get memory."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in said for sign in ("alloc_cpu", "DefaultCPUAllocator", "out of memory", "nsufficient memory")
    )
