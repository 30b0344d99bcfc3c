"""The protocol of a run: how pairs are made from a pack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from regbench.errors import UsageError, unknown_name
from regbench.results import schema
from regbench.results.schema import FrozenAugment, Pairing
from regbench.settings import Budget, first_line, meant

__all__ = ["FrozenAugment", "Pairing", "Protocol", "build_protocol"]


class Protocol(schema.PairProtocol):
    """How pairs are made from a pack, for training and for the frozen test pairs alike.

    Adds to the recorded settings their defaults, which values fit together, and ``test_pairs``, the least number of
    test pairs (every test image is used equally often). The number is not recorded: the hash of the manifest covers it.
    """

    patch: int = Field(128, ge=16)
    rho: int = Field(32, ge=0)
    pairing: Pairing = "frozen"
    test_pairs: int = Field(256, ge=256)

    def record(self) -> schema.Protocol:
        """What a result says of the protocol."""
        return schema.Protocol(**self.model_dump(include=set(schema.Protocol.model_fields)))

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
    """Resolve the protocol of a run.

    Args:
        settings: the ``--set protocol.NAME=VALUE`` of the run.
        budget: its protocol is the default.

    Raises:
        UsageError: an unknown setting, or values that do not fit together.
    """
    wanted = meant(Protocol, settings or {})
    for name in wanted:
        if name not in Protocol.model_fields:
            raise unknown_name("setting of protocol", name, Protocol.model_fields)
    try:
        return Protocol.model_validate(dict(budget.protocol) | wanted)
    except ValidationError as error:
        raise UsageError(f"protocol: {first_line(error)}") from None
