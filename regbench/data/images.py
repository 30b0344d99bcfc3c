"""The images of a pack as batches need them: live on the device where they fit, else read as they are asked for.

Both kinds give the same numbers. A pack that fits is copied to the device once. One that does not stays on the disk:
rows are read by position (images lie uncompressed, one after the other), and those of coming steps are read ahead in
threads while the current step computes. What fits is half of the memory that is free, or the mebibytes of
``REGBENCH_RESIDENT_MB``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench.api.dataset import Split
from regbench.data.pack import Pack
from regbench.data.packing import SIDES
from regbench.errors import DataError, UsageError

Side = Literal["a", "b"]
READERS = 2
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
        pool: threads that read ahead; its own when None.

    Raises:
        DataError: the pack cannot be read, or does not store its images one after the other.
    """

    def __init__(
        self,
        pack: Pack,
        split: Split,
        side: Side,
        device: torch.device | str = "cpu",
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._path = pack.path
        self._offset, self._dtype, self._shape = _layout(pack.path, split, side)
        self._top = pack.max_values[SIDES.index(side)]
        self._row = int(np.prod(self._shape[1:])) * self._dtype.itemsize
        self._file = pack.path.open("rb", buffering=0)
        self._pool = pool or _readers()
        self._coming: dict[bytes, Future[Tensor]] = {}
        self._lock = threading.Lock()

    def take(self, index: Tensor) -> Tensor:
        """As :meth:`Images.take`; waits for what :meth:`ahead` asked for, reads what nobody did."""
        with self._lock:
            coming = self._coming.pop(_key(index), None)
        rows = coming.result() if coming is not None else self._read(index)
        return rows.to(self.device, non_blocking=True)

    def ahead(self, index: Tensor) -> None:
        """Start to read; what is never taken is forgotten when eight others were asked for."""
        key = _key(index)
        with self._lock:
            if key in self._coming:
                return
            while len(self._coming) >= 8:
                self._coming.pop(next(iter(self._coming))).cancel()
            self._coming[key] = self._pool.submit(self._read, index)

    def _read(self, index: Tensor) -> Tensor:
        """Rows as a tensor ``(B, C, H, W)``, in pinned memory where a GPU waits for them."""
        found = np.empty((len(index), *self._shape[1:]), self._dtype)
        for row, i in zip(found, index.tolist(), strict=True):
            if not 0 <= i < self._shape[0]:
                raise IndexError(f"image {i} of {self._shape[0]}")
            self._fill(row, i)
        images = torch.from_numpy(_as_floats(found, self._top)).permute(0, 3, 1, 2)  # moved in memory where it is cut
        return images.pin_memory() if self.device.type == "cuda" else images

    def _fill(self, row: NDArray[np.generic], i: int) -> None:
        """Read one image into place."""
        view, start = memoryview(row.data).cast("B"), self._offset + i * self._row
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
        pool = _readers()
        found = {side: Streamed(pack, split, side, device, pool) for side in wanted}
    return [found["a" if pack.single else side] for side in sides]


def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, thread_name_prefix="regbench-read")


def resident_bytes(pack: Pack, split: Split, sides: Sequence[Side]) -> int:
    """Memory the images of these sides take; those that are not plain 8 bit are held as float32."""
    total = 0
    for side in sides:
        _, dtype, shape = _layout(pack.path, split, side)
        plain = dtype == np.uint8 and pack.max_values[SIDES.index(side)] == 255
        total += int(np.prod(shape)) * (1 if plain else 4)
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


def _as_floats(rows: NDArray[np.generic], top: int) -> NDArray[np.generic]:
    """As :meth:`regbench.data.pack.Pack.images` does: plain 8 bit as stored, else float32 in [0, 1]."""
    if rows.dtype == np.uint8 and top == 255:
        return rows
    return np.minimum(rows.astype(np.float32) / top, 1.0)


def _key(index: Tensor) -> bytes:
    return index.numpy().tobytes()
