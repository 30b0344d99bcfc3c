"""Published weight files, fetched from their publishers: only when asked, and only what has a known hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from regbench.disk import replaced, why
from regbench.errors import DataError, RegbenchError, UsageError, unknown_name
from regbench.weights.published import hub_cache
from regbench.weights.used import file_sha256

_BLOCK = 2**20
_TIMEOUT = 60.0  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """A file of published weights.

    Attributes:
        name: what to call it here.
        url: where its publisher keeps it.
        use: what uses it, one line.
        sha256: as the publisher states it, or its first digits; None where none is stated, so that the user says it.
    """

    name: str
    url: str
    use: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """Its name on the disk, by which methods look for it."""
        return self.url.rpartition("/")[2]


_LIGHTGLUE = "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv"
_LOFTR = "https://huggingface.co/kornia/loftr/resolve/main"
_TORCH = "https://download.pytorch.org/models"
_DISK = "https://raw.githubusercontent.com/cvlab-epfl/disk/master"
_ALIKED = "https://github.com/Shiaoming/ALIKED/raw/main/models"
_BY_LIGHTGLUE = "register --method lightglue"
CATALOGUE = {
    entry.name: entry
    for entry in (
        Published("loftr-outdoor", f"{_LOFTR}/loftr_outdoor.ckpt", "register --method loftr"),
        Published(
            "loftr-indoor", f"{_LOFTR}/loftr_indoor.ckpt", "register --method loftr --set registrator.model=indoor"
        ),
        Published("disk", f"{_DISK}/depth-save.pth", f"{_BY_LIGHTGLUE}, with disk-lightglue"),
        Published("disk-lightglue", f"{_LIGHTGLUE}/disk_lightglue.pth", f"{_BY_LIGHTGLUE}, with disk"),
        Published(
            "aliked",
            f"{_ALIKED}/aliked-n16.pth",
            f"{_BY_LIGHTGLUE} --set registrator.features=aliked, with aliked-lightglue",
        ),
        Published(
            "aliked-lightglue",
            f"{_LIGHTGLUE}/aliked_lightglue.pth",
            f"{_BY_LIGHTGLUE} --set registrator.features=aliked, with aliked",
        ),
        # torchvision states the first digits of a file's SHA-256 in its name.
        Published("vgg16", f"{_TORCH}/vgg16-397923af.pth", "SSHNet's perceptual loss (docs/sshnet.md)", "397923af"),
        Published("resnet34", f"{_TORCH}/resnet34-b627a593.pth", "features of ResNet-34", "b627a593"),
    )
}
"""Files that can be fetched by name. A hash stands here only where the publisher states it."""


Progress = Callable[[int, int | None], None]


def fetch(what: str, *, sha256: str | None = None, out: Path | None = None, progress: Progress | None = None) -> Path:
    """Download a weights file and check it.

    Args:
        what: a name of :data:`CATALOGUE`, or the address of another file.
        sha256: what the file's SHA-256 must be; needed where the publisher states none.
        out: folder, or file; by default torch.hub's cache, where methods look.
        progress: is handed the bytes so far, and all where that is known.

    Returns:
        The file. One that is there already with the right hash is not fetched again.

    Raises:
        UsageError: an unknown name, or no hash is known.
        RegbenchError: the file cannot be fetched or written, or is not the one that the hash is of.
    """
    url, name, stated = _wanted(what)
    expected = (sha256 or stated or "").lower()
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise UsageError(f"--sha256 {sha256}: a SHA-256 has 64 hexadecimal digits")
    if not expected:
        raise UsageError(
            f"{what}: its publisher states no SHA-256, so nothing shows whether the right file came; say which file "
            f"you trust: --sha256 HASH (of {url})"
        )
    path = _place(out, name)
    if path.is_file() and file_sha256(path).startswith(expected):
        return path
    digest = hashlib.sha256()
    try:
        with replaced(path) as partial:
            with partial.open("wb") as file:
                for block in _blocks(url, progress):
                    digest.update(block)
                    file.write(block)
            found = digest.hexdigest()
            if not found.startswith(expected):
                raise DataError(f"{url} is another file: its SHA-256 is {found}, not {expected}; nothing is kept")
    except HTTPError as error:
        raise RegbenchError(f"{url} cannot be fetched: the server answers {error.code} {error.reason}") from None
    except (URLError, TimeoutError, ConnectionError) as error:
        raise RegbenchError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from None
    except OSError as error:
        raise RegbenchError(f"{path} cannot be written: {why(error)}") from None
    return path


def _wanted(what: str) -> tuple[str, str, str | None]:
    """Address, file name and stated hash."""
    if what in CATALOGUE:
        entry = CATALOGUE[what]
        return entry.url, entry.file, entry.sha256
    parts = urlsplit(what)
    if parts.scheme in ("http", "https"):
        name = os.path.basename(parts.path)
        if not name:
            raise UsageError(f"{what}: names no file")
        return what, name, None
    raise unknown_name("weights file", what, CATALOGUE, "Or give the address of a file, and --sha256.")


def _place(out: Path | None, name: str) -> Path:
    if out is None:
        return hub_cache() / name
    return out / name if out.is_dir() or not out.suffix else out


def _blocks(url: str, progress: Progress | None) -> Iterator[bytes]:
    with urlopen(Request(url, headers={"User-Agent": "regbench"}), timeout=_TIMEOUT) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        done = 0
        while block := answer.read(_BLOCK):
            done += len(block)
            if progress is not None:
                progress(done, total)
            yield block
        if total is not None and done != total:
            raise ConnectionError(f"it ended after {done} of {total} bytes")
