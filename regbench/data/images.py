"""The images of a pack as batches need them: resident on the device where they fit, else streamed from the file.

Both kinds give the same numbers. Images that fit are copied to the device once. The others stay on the disk: they lie
there uncompressed, one after the other, so each is read by its position, and the operating system is told which ones
the coming steps need, so that it prefetches them into its cache. No thread of the process reads: on two cores it would
take its time from the warps. Images fit if they take at most half of the free memory, or at most the mebibytes in the
environment variable ``REGBENCH_RESIDENT_MB``.
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
from regbench.data.packs.format import SIDES, is_plain_8bit, to_memory
from regbench.data.packs.pack import Pack
from regbench.errors import DataError, UsageError

Side = Literal["a", "b"]
ENV_RESIDENT_MB = "REGBENCH_RESIDENT_MB"
"""Environment variable: mebibytes of images that a run may keep in memory."""


class Images(Protocol):
    """One side of a split."""

    def take(self, index: Tensor) -> Tensor:
        """Images by position.

        Args:
            index: ``(B,)`` positions in the split, on the CPU.

        Returns:
            ``(B, C, H, W)`` on the device: uint8 where 255 means 1.0, else float32 in [0, 1].
        """

    def prefetch(self, index: Tensor) -> None:
        """Announce that the images at ``index`` ``(B,)`` are taken soon; returns at once."""


class Resident:
    """Images that are kept on the device.

    Args:
        images: ``(N, C, H, W)``, laid out pixel by pixel (channels last).
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def take(self, index: Tensor) -> Tensor:
        """The images at ``index``; see :meth:`Images.take`."""
        if self.images.device.type == "cuda":
            index = index.pin_memory().to(self.images.device, non_blocking=True)
        return self.images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)

    def prefetch(self, index: Tensor) -> None:
        """Do nothing: the images are on the device."""


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
        self._offset, self._dtype, self._shape = _array_of(pack, split, side)
        self._values = pack.ranges[SIDES.index(side)]
        self._row = int(np.prod(self._shape[1:])) * self._dtype.itemsize
        self._file = pack.path.open("rb", buffering=0)

    def take(self, index: Tensor) -> Tensor:
        """The images at ``index``; see :meth:`Images.take`.

        Raises:
            DataError: the file is truncated.
        """
        # Torch aligns memory to 64 bytes. NumPy's begins 16 bytes into a page, and reading whole pages to there takes
        # four times as long (measured on AMD EPYC).
        pinned = self.device.type == "cuda"
        stored = torch.empty((len(index), self._row), dtype=torch.uint8, pin_memory=pinned)
        for row, i in zip(stored.numpy(), index.tolist(), strict=True):
            if not 0 <= i < self._shape[0]:
                raise IndexError(f"image {i} of {self._shape[0]}")
            self._fill(row, i)
        pixels = stored.numpy().view(self._dtype).reshape(-1, *self._shape[1:])
        images = torch.from_numpy(to_memory(pixels, self._values))
        # Channels stay last in memory, as in the file, until a patch is cut.
        return images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def prefetch(self, index: Tensor) -> None:
        """Have the operating system read the images at ``index`` into its cache, if it offers that."""
        if hasattr(os, "posix_fadvise"):
            for i in index.tolist():
                start = self._offset + i * self._row
                os.posix_fadvise(self._file.fileno(), start, self._row, os.POSIX_FADV_WILLNEED)

    def _fill(self, row: NDArray[np.uint8], i: int) -> None:
        """Read image ``i`` into ``row``, its bytes."""
        view, start = memoryview(row.data), self._offset + i * self._row
        done = 0
        while done < self._row:
            count = os.preadv(self._file.fileno(), [view[done:]], start + done)
            if count == 0:
                raise DataError(f"{self._path} is truncated: image {i} is cut off; prepare the data set again")
            done += count


def load(pack: Pack, split: Split, sides: Sequence[Side], device: torch.device | str = "cpu") -> list[Images]:
    """The images of some sides of a split.

    Args:
        pack: the pack.
        split: which images.
        sides: of which modalities.
        device: where batches are needed.

    Returns:
        One entry a side: all resident if all of them fit, else all streamed. A pack of single images has one entry for
        both sides.

    Raises:
        DataError: the pack cannot be read.
        UsageError: ``REGBENCH_RESIDENT_MB`` is not a number.
    """
    wanted = dict.fromkeys("a" if pack.single else side for side in sides)
    images: dict[str, Images]
    if resident_bytes(pack, split, tuple(wanted)) <= memory_for_images(device):
        images = {side: Resident(pack.images(split, side, device)) for side in wanted}
    else:
        images = {side: Streamed(pack, split, side, device) for side in wanted}
    return [images["a" if pack.single else side] for side in sides]


def resident_bytes(pack: Pack, split: Split, sides: Sequence[Side]) -> int:
    """Bytes the images of these sides take in memory, where those that are not plain 8 bit are float32."""
    total = 0
    for side in sides:
        _, dtype, shape = _array_of(pack, split, side)
        total += int(np.prod(shape)) * (1 if is_plain_8bit(dtype, pack.ranges[SIDES.index(side)]) else 4)
    return total


def memory_for_images(device: torch.device | str) -> int:
    """Bytes a run may keep images in: ``REGBENCH_RESIDENT_MB`` if it is set, else half of what is free on the device.

    Raises:
        UsageError: ``REGBENCH_RESIDENT_MB`` is not a number.
    """
    if (limit := os.environ.get(ENV_RESIDENT_MB)) is not None:
        if not limit.isdecimal():
            raise UsageError(f"{ENV_RESIDENT_MB}={limit!r} is not a whole number of mebibytes")
        return int(limit) * 2**20
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return free_memory() // 2


def free_memory() -> int:
    """Bytes this process can still get: the machine's free memory, or less if its control group allows less."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(meminfo["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # not in such a group, or without a limit
            continue
    return max(0, min(free))


def _array_of(pack: Pack, split: Split, side: Side) -> tuple[int, np.dtype[np.generic], tuple[int, ...]]:
    """Byte at which the images of a side start in the file, their type and shape ``(N, H, W, C)``."""
    with pack.open_file() as file:
        array = file[split][side]
        offset = array.id.get_offset()
        if offset is None and array.shape[0]:
            raise DataError(
                f"{pack.path} stores its images compressed or in chunks; make it with `regbench datasets prepare`"
            )
        return int(offset or 0), array.dtype, tuple(array.shape)
