"""PNG files: checked to be whole, and freed of what decoders only complain about."""

from __future__ import annotations

import zlib

from regbench.data.image_files.refused import check_pixels, damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")


def has_alpha(data: bytes) -> bool:
    """Whether a file is a PNG whose pixels have an alpha channel."""
    return data.startswith(SIGNATURE) and data[25:26] in (b"\4", b"\6")  # colour type: grey or RGB, and alpha


def without_extras(data: bytes) -> bytes:
    """A PNG file up to its end marker, reduced to the chunks that pixels and orientation need.

    Colour profiles and comments do not change pixels here, but libpng prints warnings on them. A file of another format
    is returned as it is.

    Raises:
        Refused: it is too large, the file ends before its end marker, or a chunk of pixels fails its checksum.
    """
    if not data.startswith(SIGNATURE):
        return data
    parts, at = [SIGNATURE], len(SIGNATURE)
    while True:
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if len(kind) < 4 or end > len(data):
            raise damaged(len(data))
        if kind in _NEEDED:
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
                raise damaged(len(data))
            if kind == b"IHDR" and end - at == 25:
                check_pixels(int.from_bytes(data[at + 8 : at + 12]), int.from_bytes(data[at + 12 : at + 16]))
            parts.append(data[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
