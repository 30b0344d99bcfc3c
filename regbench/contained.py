"""What comes from elsewhere stays in its own folder: names are no paths, links are refused, HDF5 files hold their data.

A recipe, a board, a pack or a run may be a stranger's. It can name files; it never reaches beyond its folder.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from regbench.errors import DataError, UsageError
from regbench.texts import is_folder_name, one_line

if TYPE_CHECKING:
    import h5py


def safe_name(name: str, what: str) -> str:
    """A text that becomes the name of a file or folder, as it is.

    Args:
        name: the text.
        what: what it names, such as ``paper``.

    Raises:
        UsageError: it is no plain name: empty, hidden, too long, with separators or control characters.
    """
    if not is_folder_name(name):
        raise UsageError(f"{what} {name!r}: a {what}'s name is one plain folder name, such as my-{what}")
    return name


def stays_inside(text: str) -> bool:
    """Whether a text, taken for a path, leads to no place above or beside the folder it starts in."""
    kinds = (PurePosixPath(text), PureWindowsPath(text))
    return not text.startswith("~") and not any(p.drive or p.root or ".." in p.parts for p in kinds)


def refuse_links(folder: Path) -> None:
    """Raise DataError where a folder holds a symbolic link, at whatever depth; ``folder`` itself may be one."""
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            refuse_link(Path(where, name))


def refuse_link(path: Path) -> None:
    """Raise DataError where a file or folder is a symbolic link."""
    if path.is_symlink():
        raise DataError(f"{path} is a link, which could lead out of its folder; put the file itself there")


def check_hdf5(path: Path, file: h5py.File) -> None:
    """Check that an open HDF5 file holds its data itself, and as many bytes as it says.

    Args:
        path: the file, for the message.
        file: it, open.

    Raises:
        DataError: a link leads to another file, data lie in one or are put together of others, or a data set claims
            more than is stored.
    """
    import h5py

    seen: set[Any] = set()
    groups = [("", file)]
    while groups:
        where, group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            here = one_line(f"{where}/{name}")
            if not isinstance(link, h5py.HardLink | h5py.SoftLink):
                raise DataError(f"{path}: {here} leads to another file, which is not read; make the file again")
            item = group.get(name)
            if item is None:
                raise DataError(f"{path}: {here} leads nowhere; make the file again")
            if item in seen:
                continue
            seen.add(item)
            if isinstance(item, h5py.Group):
                groups.append((here, item))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(path, here, item)


def _check_dataset(path: Path, where: str, array: h5py.Dataset) -> None:
    if array.external or array.is_virtual:
        raise DataError(f"{path}: the data of {where} lie in other files, which are not read; make the file again")
    # What is compressed unfolds, but no pictures or numbers do so a hundredfold.
    allowed = 1 if array.chunks is None else 100
    claimed, stored = (array.size or 0) * array.id.get_type().get_size(), array.id.get_storage_size()
    if claimed > allowed * stored:
        raise DataError(f"{path}: {where} claims {claimed} bytes and stores {stored}; make the file again")
