"""The dataset role: reads one published layout from disk, pair by pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from regbench.api.config import ComponentConfig

Split = Literal["train", "test"]
RANGE_SETTINGS = ("range_a", "range_b")
"""Settings of every data set, beside its reader's own: which stored values of A and B are black and white, see
``docs/pixels.md``."""


class Card(BaseModel):
    """What a person must know about a data set; printed by ``regbench datasets info``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    modalities: tuple[str, str]
    """Names of modality A and B."""
    origin: str
    """Where to get it, in words."""
    licence: str
    citation: str
    layout: str
    """A drawing of the folder."""
    split: str
    """How train and test are told apart."""
    size_rule: str
    """How images come to one size."""
    defects: str = "none known"
    shared: str | None = None
    """Why images are in train and in test, where a set has such on purpose; None: nothing is trained on them."""


class PairImages(NamedTuple):
    """One pair as stored: images of modality A and B, ``(H, W)`` or ``(H, W, 3)`` RGB, uint8 or uint16; or
    float32 with NaN for no data, which needs a value range (setting ``range_a`` or ``range_b``).

    Aligned sets hold the same place at the same pixel. ``homography`` is only for sets of really unaligned
    pairs: the optional label ``(3, 3)``, pixels of A to pixels of B.
    """

    a: NDArray[np.generic]
    b: NDArray[np.generic]
    homography: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    """Tie points ``(K, 4)`` of a really unaligned pair, ``x, y`` in A then ``x, y`` in B, pixels as stored: a truth
    where no homography is known."""


class Dataset(ABC):
    """Base class of every data set reader: finds and decodes the image pairs of one published layout.

    ``regbench datasets prepare`` reads the set once into a pack; training and evaluation see the pack alone.
    Everything named below is imported from ``regbench``.

    Implement:
        ``card``: class attribute, a :class:`regbench.Card`: what a person must know about the set.
        ``keys(split)``: names of the pairs of ``"train"`` and ``"test"``.
        ``read(split, key)``: one pair as a :class:`regbench.PairImages`.

    Optional:
        ``Config``: a subclass of :class:`regbench.ComponentConfig` (pydantic); ``self.config`` holds the values.
        ``size``, ``max_values``, ``interpolation``, ``grey``: how images come to the pack; described below.
        ``aligned``, ``max_patch``: for pairs that are really unaligned.
        ``group(split, key)``: the image that a pair was cut from.
        ``needs_root``, ``single``, ``distortion``: for sets that are generated or special.

    What must hold:
        Keys are unique and in the same order on every machine. ``regbench.data.naming`` lists and matches files so.
        No image is in both splits, as source or as target: pixels are compared. ``datasets prepare`` tells of one,
        ``datasets verify`` and training refuse it, unless ``card.shared`` says why it must be so.
        Pairs that are not independent of each other (one scene, one camera) share a group; where names do not tell, the
        card says so.
        Reading is deterministic, in whatever order the pairs are read.
        Images are ``(H, W)`` or ``(H, W, 3)`` RGB, uint8, uint16 or float32. The two of an aligned set have one size.
        A folder or a file that is not as the card draws it raises ``regbench.DataError``, which names it.

    Example::

        import cv2
        from regbench import Card, DataError, Dataset, PairImages

        class Mine(Dataset):
            card = Card(
                title="Mine", modalities=("optical", "sar"), origin="https://…", licence="CC BY 4.0", citation="…",
                layout="train/a/*.png train/b/*.png test/a/*.png test/b/*.png", split="by folder",
                size_rule="resized to 192 px",
            )

            def keys(self, split):
                names = sorted(path.name for path in (self.root / split / "a").glob("*.png"))
                if not names:
                    raise DataError(f"{self.root / split / 'a'}: no images; expected {self.card.layout}")
                return names

            def read(self, split, key):
                paths = [self.root / split / side / key for side in "ab"]
                images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
                for path, image in zip(paths, images):
                    if image is None:
                        raise DataError(f"{path}: missing or not an image")
                return PairImages(*images)

    Register it in a module of your distribution::

        @regbench.hookimpl
        def register_datasets(register):
            register("mine", "my_package.mine:Mine", summary="one line")

    advertise the module in ``pyproject.toml``::

        [project.entry-points.regbench]
        my_plugin = "my_package.plugin"

    and check it: ``regbench plugins check my-distribution``, then ``regbench datasets prepare mine --root FOLDER``.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    card: ClassVar[Card]
    needs_root: ClassVar[bool] = True
    """False for sets that are generated, not read from a folder."""
    aligned: bool = True
    """False when pairs are really unaligned; they can only be used with ``pairing=given``."""
    interpolation: ClassVar[Literal["auto", "bilinear"]] = "auto"
    """How images come to ``size``: ``auto`` averages areas when a side shrinks by more than 1.5, else it is
    bilinear; ``bilinear`` always is, for sets whose published protocol resizes so."""
    grey: ClassVar[tuple[bool, bool]] = (False, False)
    """Sides whose images must be grey (one channel, or three that are the same). A coloured one is refused, which is
    how swapped folders show."""
    max_patch: int | None = None
    """Side of the central square that both images of a really unaligned pair fill, px in the pack; None: all."""
    distortion: str = "none"
    """``none``, or the colour distortion that is drawn anew for either image whenever a pair is cut: a name in
    ``regbench.data.photometric.DISTORTIONS``, such as ``pds``."""
    single: ClassVar[bool] = False
    """True when A and B are the same image, which the pack then stores once."""

    def __init__(self, config: ComponentConfig, root: Path | None) -> None:
        self.config = config
        self.root = root

    @property
    def modalities(self) -> tuple[str, str]:
        """Names of modality A and B."""
        return self.card.modalities

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) every image is brought to in the pack."""
        return (192, 192)

    @property
    def max_values(self) -> tuple[int | None, int | None]:
        """The stored value of A and B that means 1.0; None: the most the data type holds (255 or 65535).

        The reader's own default; the settings ``range_a`` and ``range_b``, which every data set has, override it.
        """
        return (None, None)

    @abstractmethod
    def keys(self, split: Split) -> Sequence[str]:
        """Stable names of the pairs of a split, in order.

        Raises:
            DataError: the folder does not look as the card draws it; says what was expected and what is there.
        """

    @abstractmethod
    def read(self, split: Split, key: str) -> PairImages:
        """Decode one pair.

        Raises:
            DataError: a file is missing, truncated or of the wrong kind; names the file.
        """

    def group(self, split: Split, key: str) -> str:
        """The image a pair comes from; intervals resample these. Pairs cut from one scene share a group."""
        return key
