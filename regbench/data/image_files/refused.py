"""Why a file is not opened."""


class Refused(Exception):
    """A file is not opened; the message continues a sentence that begins with its name."""


def damaged(size: int) -> Refused:
    """The refusal of a file of ``size`` bytes whose content is no whole image."""
    return Refused(f"({size} bytes) is truncated or not an image")
