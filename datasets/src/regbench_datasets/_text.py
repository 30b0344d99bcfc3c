"""Text files of data sets, read alike on every machine."""

from __future__ import annotations

from pathlib import Path

from regbench import DataError
from regbench.data.packs.sources import note_read


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        DataError: it is missing, cannot be read or has another encoding; names the file and, of the encoding, the line.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    note_read(path, data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is encoded as UTF-16; save it as UTF-8")
    try:
        data = data.removeprefix(b"\xef\xbb\xbf")
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8 (Latin-1 or Windows-1252 perhaps); save "
            "the file as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{path} line {text[: text.index(chr(0))].count(chr(10)) + 1}: a zero byte; it is no text file")
    return text
