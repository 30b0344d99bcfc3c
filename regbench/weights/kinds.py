"""What a file is that somebody gives as weights, told by its first bytes and not by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

from regbench.texts import one_line


class Kind(NamedTuple):
    """What a file is."""

    name: Literal["torch", "safetensors", "other"]
    words: str
    """The end of a sentence that begins with the file's name, such as ``is a gzip archive; unpack it first``."""


TORCH = Kind("torch", "is a PyTorch checkpoint")
SAFETENSORS = Kind("safetensors", "is a safetensors file")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6, and with its old format since
_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}
_OTHERS = {
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"\x7fELF": "a program",
}


def kind_of(path: Path) -> Kind:
    """What a file is; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        return _other("is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        return _other("is a Git LFS pointer, not the file it stands for; fetch that with `git lfs pull`")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")) or (start[:1] == b"<" and b"<html" in start):
        return _other("is an HTML page, perhaps a login or a warning; download the file itself")
    if head.startswith(b"PK"):
        return _of_zip(path)
    if head.startswith(_LEGACY):
        return TORCH
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        return SAFETENSORS
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            return _other(f"is a {name} archive; unpack it first")
    if head[257:262] == b"ustar":
        return _other("is a tar archive; unpack it first")
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return _other(f"is {name}, no checkpoint")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _other("is a pickle that torch.save did not write; save its state_dict with torch.save")
    if (text := _text_of(head)) is not None:
        return _other(f"is a text file that begins with {one_line(text)[:60]!r}")
    return _other("is of no known kind; it may be truncated or damaged")


def _of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return _other("is truncated: the end of a zip archive, which checkpoints are, is missing; download it again")
    if any(name.endswith("/constants.pkl") for name in names):
        return _other("is a TorchScript program; save its state_dict instead")
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return _other("is an archive of NumPy arrays, no checkpoint")
    return _other(f"is a zip archive that holds {one_line(', '.join(names[:3])) or 'nothing'}; unpack it first")


def _text_of(head: bytes) -> str | None:
    """The beginning of a text; None for binary content."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) - error.start > 3:  # not a character that the end of the head cut
            return None
        text = head[: error.start].decode()
    return text if all(c.isprintable() or c in "\t\r\n" for c in text) else None


def _other(words: str) -> Kind:
    return Kind("other", words)
