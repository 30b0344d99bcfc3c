"""The protocol: how pairs are made from a pack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from regbench.errors import UsageError, unknown_name
from regbench.settings import Budget, first_line

Pairing = Literal["frozen", "online", "given"]
FrozenAugment = Literal["none", "sync_flip_rot", "indep_homography"]


class Protocol(BaseModel):
    """How pairs are made from a pack, for training and for the frozen test pairs alike.

    Attributes:
        patch: side of the square patches, px.
        rho: each corner coordinate is moved by an integer drawn from U{-rho..rho}, px (DeTone et al. 2016).
        pairing: ``frozen`` fixed offsets per training pair; ``online`` a new offset at each visit; ``given`` the
            set's own really unaligned pairs.
        source: which modality of the pack is the source (and is warped).
        oversample: frozen pairs made of each training image.
        frozen_augment: other views of frozen and given training pairs: mirrored and turned alike, or each image by a
            homography of its own (see :mod:`regbench.data.augment`).
        test_pairs: least number of test pairs; every test image is used equally often.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = Field(128, ge=16)
    rho: int = Field(32, ge=0)
    pairing: Pairing = "frozen"
    source: Literal["A", "B"] = "A"
    oversample: int = Field(10, ge=1)
    frozen_augment: FrozenAugment = "none"
    test_pairs: int = Field(256, ge=256)

    @model_validator(mode="after")
    def _convex(self) -> Protocol:
        if 2 * self.rho >= self.patch:
            raise ValueError(f"rho={self.rho} can fold a patch of {self.patch} px; keep rho below patch/2")
        return self

    @model_validator(mode="after")
    def _fixed_pairs(self) -> Protocol:
        if self.frozen_augment != "none" and self.pairing == "online":
            raise ValueError(
                f"frozen_augment={self.frozen_augment} is for pairs that stay as they are; online pairs are new at "
                "every visit: use --pairing frozen"
            )
        return self


def build_protocol(settings: Mapping[str, Any] | None, budget: Budget) -> Protocol:
    """Resolve the protocol; raises UsageError."""
    wanted = dict(settings or {})
    for name in wanted:
        if name not in Protocol.model_fields:
            raise unknown_name("setting of protocol", name, Protocol.model_fields)
    try:
        return Protocol.model_validate(dict(budget.protocol) | wanted)
    except ValidationError as error:
        raise UsageError(f"protocol: {first_line(error)}") from None
