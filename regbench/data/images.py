"""The images of a pack as batches need them: live on the device where they fit, else read as they are asked for.

Both kinds give the same numbers. A pack that fits is copied to the device once. One that does not stays on the disk:
rows are read by position (images lie uncompressed, one after the other), and the system is asked to have those of
coming steps in its cache by then. No thread of ours reads: on two cores it would take its time from the warps. What
fits is half of the memory that is free, or the mebibytes of ``REGBENCH_RESIDENT_MB``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench.api.dataset import Split
from regbench.data.pack import Pack
from regbench.data.pack_format import SIDES, is_plain_8bit, to_memory
from regbench.errors import DataError, UsageError

Side = Literal["a", "b"]
LIMIT = "REGBENCH_RESIDENT_MB"


class Images(Protocol):
    """One side of a split."""

    def take(self, index: Tensor) -> Tensor:
        """The images at ``index`` ``(B,)`` (on the CPU): ``(B, C, H, W)`` on the device, uint8 or float32 as stored."""

    def ahead(self, index: Tensor) -> None:
        """Say that these will be asked for soon."""


class Resident:
    """Images that live on the device.

    Args:
        images: ``(N, C, H, W)``.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def take(self, index: Tensor) -> Tensor:
        """As :meth:`Images.take`."""
        if self.images.device.type == "cuda":
            index = index.pin_memory().to(self.images.device, non_blocking=True)
        return self.images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)

    def ahead(self, index: Tensor) -> None:
        """They are here already."""


class Streamed:
    """Images that stay in the pack.

    Args:
        pack: the pack.
        split: which images.
        side: of which modality.
        device: where batches go.

    Raises:
        DataError: the pack cannot be read, or does not store its images one after the other.
    """

    def __init__(self, pack: Pack, split: Split, side: Side, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._path = pack.path
        self._offset, self._dtype, self._shape = _layout(pack.path, split, side)
        self._top = pack.max_values[SIDES.index(side)]
        self._row = int(np.prod(self._shape[1:])) * self._dtype.itemsize
        self._file = pack.path.open("rb", buffering=0)

    def take(self, index: Tensor) -> Tensor:
        """As :meth:`Images.take`."""
        # Torch's memory is aligned to 64 bytes. NumPy's begins 16 bytes into a page, and whole pages are read to there
        # at a quarter of the speed on the processors this was measured on (AMD EPYC).
        pinned = self.device.type == "cuda"
        stored = torch.empty((len(index), self._row), dtype=torch.uint8, pin_memory=pinned)
        for row, i in zip(stored.numpy(), index.tolist(), strict=True):
            if not 0 <= i < self._shape[0]:
                raise IndexError(f"image {i} of {self._shape[0]}")
            self._fill(row, i)
        images = torch.from_numpy(to_memory(stored.numpy().view(self._dtype).reshape(-1, *self._shape[1:]), self._top))
        # To the device as the file has them; moved in memory where they are cut.
        return images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def ahead(self, index: Tensor) -> None:
        """Ask the system to read them into its cache, where it can be asked; returns at once."""
        if hasattr(os, "posix_fadvise"):
            for i in index.tolist():
                start = self._offset + i * self._row
                os.posix_fadvise(self._file.fileno(), start, self._row, os.POSIX_FADV_WILLNEED)

    def _fill(self, row: NDArray[np.uint8], i: int) -> None:
        """Read one image into place."""
        view, start = memoryview(row.data), self._offset + i * self._row
        done = 0
        while done < self._row:
            count = os.preadv(self._file.fileno(), [view[done:]], start + done)
            if count == 0:
                raise DataError(f"{self._path} is truncated: image {i} is cut off; prepare the data set again")
            done += count


def load(pack: Pack, split: Split, sides: Sequence[Side], device: torch.device | str = "cpu") -> list[Images]:
    """The images of some sides, resident when all of them fit, else streamed.

    Raises:
        DataError: the pack cannot be read.
        UsageError: ``REGBENCH_RESIDENT_MB`` is not a number.
    """
    wanted = dict.fromkeys("a" if pack.single else side for side in sides)
    found: dict[str, Images] = {}
    if resident_bytes(pack, split, tuple(wanted)) <= memory_for_images(device):
        found = {side: Resident(pack.images(split, side, device)) for side in wanted}
    else:
        found = {side: Streamed(pack, split, side, device) for side in wanted}
    return [found["a" if pack.single else side] for side in sides]


def resident_bytes(pack: Pack, split: Split, sides: Sequence[Side]) -> int:
    """Memory the images of these sides take; those that are not plain 8 bit are held as float32."""
    total = 0
    for side in sides:
        _, dtype, shape = _layout(pack.path, split, side)
        total += int(np.prod(shape)) * (1 if is_plain_8bit(dtype, pack.max_values[SIDES.index(side)]) else 4)
    return total


def memory_for_images(device: torch.device | str) -> int:
    """Bytes a run may keep images in: half of what is free on the device, unless the environment says."""
    if (said := os.environ.get(LIMIT)) is not None:
        if not said.isdecimal():
            raise UsageError(f"{LIMIT}={said!r} is not a whole number of mebibytes")
        return int(said) * 2**20
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return _free_memory() // 2


def _free_memory() -> int:
    """Memory this process can still get: of the machine, or of the control group it runs in."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(facts["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free.append(int(Path(most).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # not in such a group, or without a limit
            continue
    return max(0, min(free))


def _layout(path: Path, split: Split, side: Side) -> tuple[int, np.dtype[np.generic], tuple[int, ...]]:
    """Where the images of a side start in the file, their type and ``(N, H, W, C)``."""
    import h5py

    with h5py.File(path, "r", locking="best-effort") as file:
        array = file[split][side]
        offset = array.id.get_offset()
        if offset is None and array.shape[0]:
            raise DataError(
                f"{path} stores its images compressed or in chunks; make it with `regbench datasets prepare`"
            )
        return int(offset or 0), array.dtype, tuple(array.shape)
