"""DPDN: rendered colour and depth, in the layout SSHNet reads."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from regbench import Card, ComponentConfig, Split
from regbench.data.naming import images_in, layout_error
from regbench_datasets._paired_files import Files, PairedFiles, paired


class DPDN(PairedFiles):
    """Reads ``{train,test}/{rgb,depth}/<name>.jpg``."""

    class Config(ComponentConfig):
        """Settings of the reader."""

        size: int = Field(192, ge=32, description="side of the square images in the pack, px")

    config: Config
    grey = (False, True)
    card: ClassVar[Card] = Card(
        title="DPDN (RGB/depth)",
        modalities=("rgb", "depth"),
        origin="made from the rendered scenes that accompany the paper; SSHNet's page speaks of DPDN_192",
        licence="not stated by the authors; ask them before you redistribute images",
        citation="Riegler, Ferstl, Rüther and Bischof: A deep primal-dual network for guided depth super-resolution. "
        "BMVC 2016.",
        layout="ROOT/\n"
        "  train/rgb/0001.jpg  ...    train/depth/0001.jpg  ...     depth: grey, same size and name\n"
        "  test/rgb/           ...    test/depth/           ...",
        split="the folders train and test; neither their counts nor their making were published",
        size_rule="resized to 192x192 (setting size) as SSHNet does; areas are averaged where it shrinks by more than "
        "1.5",
        defects="rendered scenes; depth is stored with 8 bits. The names do not tell which images show one scene, so "
        "intervals over images may be too narrow",
    )

    def files(self, root: Path, split: Split) -> dict[str, Files]:
        """The pairs by stem; raises DataError when the layout does not fit or a partner is missing."""
        colour, depth = (self.folder(root, f"{split}/{name}") for name in ("rgb", "depth"))
        pairs = paired(images_in(colour), images_in(depth))
        if not pairs:
            raise layout_error(self.card, colour, "there are no images")
        return pairs
